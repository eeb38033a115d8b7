//go:build ignore

// Stack runs the command after -- with one real Kafka and one Elasticsearch for all of it, named by STRATA_TEST_KAFKA and
// STRATA_TEST_ELASTIC. Where there is no JVM with them it says why and runs the command without. It ends with the command's
// exit status; signals go to the command, and however this process ends, the servers go with it.
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
	env, end := servers(ctx)
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

// server is one of a program's jars.
type server interface {
	Kill() error
}

// servers starts those that the environment doesn't name. end ends them.
func servers(ctx context.Context) (env []string, end func()) {
	ends := []func(){}
	for _, s := range []struct {
		variable, jars string
		start          func(*local.Home, local.Java) (server, string, error)
	}{
		{localtest.TestKafka, "kafka", func(h *local.Home, java local.Java) (server, string, error) {
			k, err := h.StartJavaKafka(ctx, local.JavaKafkaConfig{Name: "kafka1", Java: java})
			if err != nil {
				return nil, "", err
			}
			return k, k.Brokers()[0], nil
		}},
		{localtest.TestElastic, "elastic", func(h *local.Home, java local.Java) (server, string, error) {
			e, err := h.StartElastic(ctx, local.ElasticConfig{Name: "elastic1", Java: java})
			if err != nil {
				return nil, "", err
			}
			return e, e.URL(), nil
		}},
	} {
		if os.Getenv(s.variable) != "" {
			continue
		}
		address, stop, err := one(s.jars, s.start)
		if err != nil {
			fmt.Fprintf(os.Stderr, "no real %s for this run: %v %s\n", s.jars, err, fault.HintOf(err))
			continue
		}
		env, ends = append(env, s.variable+"="+address), append(ends, stop)
	}
	return env, func() {
		for _, stop := range ends {
			stop()
		}
	}
}

// one starts a server in a folder of its own.
func one(jars string, start func(*local.Home, local.Java) (server, string, error)) (address string, stop func(), err error) {
	java, err := local.FindJava(os.Getenv, jars)
	if err != nil {
		return "", nil, err
	}
	h, remove, err := localtest.NewHome()
	if err != nil {
		return "", nil, err
	}
	s, address, err := start(h, java)
	if err != nil {
		_ = h.Close()
		remove()
		return "", nil, err
	}
	return address, func() {
		_, _ = s.Kill(), h.Close() // nobody wants its data
		remove()
	}, nil
}
