//go:build ignore

// Stack runs the command after -- with one real Kafka for all of it, named by STRATA_TEST_KAFKA. Where there is no JVM with
// Kafka it says why and runs the command without. It ends with the command's exit status; signals go to the command, and
// however this process ends, the broker goes with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"strata/fault"
	"strata/local"
	"strata/local/localtest"
)

func main() {
	if len(os.Args) < 3 || os.Args[1] != "--" {
		fmt.Fprintln(os.Stderr, "usage: go run .ci/stack.go -- COMMAND...")
		os.Exit(2)
	}
	os.Exit(run(os.Args[2:]))
}

func run(argv []string) int {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	began := make(chan *exec.Cmd, 1)
	go func() {
		for s := range signals {
			stop() // a start that is under way
			select {
			case cmd := <-began:
				_ = cmd.Process.Signal(s)
				began <- cmd
			default:
			}
		}
	}()
	env, end := kafka(ctx)
	defer end()
	if ctx.Err() != nil {
		return 130
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	began <- cmd
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// kafka starts the broker, unless the environment names one. end ends it.
func kafka(ctx context.Context) (env []string, end func()) {
	if os.Getenv(localtest.TestKafka) != "" {
		return nil, func() {}
	}
	without := func(err error) ([]string, func()) {
		fmt.Fprintln(os.Stderr, "no real Kafka for this run:", err, fault.HintOf(err))
		return nil, func() {}
	}
	java, err := local.FindJava(os.Getenv, "kafka")
	if err != nil {
		return without(err)
	}
	h, remove, err := localtest.NewHome()
	if err != nil {
		return without(err)
	}
	k, err := h.StartJavaKafka(ctx, local.JavaKafkaConfig{Name: "kafka1", Java: java})
	if err != nil {
		_ = h.Close()
		remove()
		return without(err)
	}
	return []string{localtest.TestKafka + "=" + k.Brokers()[0]}, func() {
		_, _ = k.Kill(), h.Close() // nobody wants its data
		remove()
	}
}
