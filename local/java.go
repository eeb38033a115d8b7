package local

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"strata/fault"
)

// jvmFiles are what Maven fetches the jars by, the broker's properties, and the program of an Elasticsearch node.
//
//go:embed jvm
var jvmFiles embed.FS

// Java is a JVM with the jars of one program.
type Java struct {
	Program string // path of java
	Jars    string // folder
}

// FindJava returns java (of JAVA_HOME, else of PATH) with the jars of local/jvm/<name>.xml, kafka, connect or elastic, which `make
// setup-test` puts into the cache folder: java/<name>-<hash of the file>. Unavailable: no java, or no jars.
func FindJava(getenv func(string) string, name string) (Java, error) {
	pom, err := jvmFiles.ReadFile("jvm/" + name + ".xml")
	if err != nil {
		return Java{}, fault.Wrap(fault.Invalid, "find jars", err)
	}
	program := "java"
	if home := getenv("JAVA_HOME"); home != "" {
		program = filepath.Join(home, "bin", "java")
	}
	if program, err = exec.LookPath(program); err != nil {
		return Java{}, fault.New(fault.Unavailable, "find java", "%w", err).WithHint("install a JRE 17 or newer")
	}
	sum := sha256.Sum256(pom)
	jars := filepath.Join(Cache(getenv), "java", name+"-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(jars); err != nil {
		return Java{}, fault.New(fault.Unavailable, "find jars of "+name, "%w", err).
			WithHint("`make setup-test` fetches them where there are Java 17 and Maven")
	}
	return Java{Program: program, Jars: jars}, nil
}

// argv is the command line of a class. The flags are those of short runs beside others on few cores: a small heap, the
// collector without threads of its own, the quick compiler alone; jvm's come later and win.
func (j Java) argv(heapMiB int, jvm []string, class string, args ...string) []string {
	argv := []string{j.Program, "-Xms64m", fmt.Sprintf("-Xmx%dm", heapMiB), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-XX:+ExitOnOutOfMemoryError", "-XX:-UsePerfData", "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.showDateTime=true",
		"-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"}
	argv = append(argv, jvm...)
	return append(append(argv, "-cp", filepath.Join(j.Jars, "*"), class), args...)
}

// properties is a map in the form that Java reads, by key.
func properties(m map[string]string) string {
	var b strings.Builder
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	escape := strings.NewReplacer("\\", "\\\\", "\n", "\\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "%s=%s\n", k, escape.Replace(m[k]))
	}
	return b.String()
}
