// Package local runs strata's private servers on one machine: MariaDB and MySQL processes, an in-process Kafka, and on a JVM
// a real one, Kafka Connect and Elasticsearch, inside one data folder. The demo, the tests and the benchmarks stand on it;
// production never imports it.
//
// Purpose: `strata demo` and `make test` need no set-up. Start gives a whole Stack (live, its replica offline, archive
// with the control schema, Kafka); every address can be replaced by the environment (STRATA_LIVE_DSN,
// STRATA_OFFLINE_DSN, STRATA_ARCHIVE_DSN, STRATA_CONTROL_DSN, STRATA_KAFKA), and then that private server is not
// started. The package also holds the tools of fault tests: Proxy (a TCP wire that can be cut), CrashFromEnv and Trap
// (named crash points).
//
// Only tests and benchmarks use MySQL, JavaKafka, Connect and Elastic. They are not part of a Stack, and nothing is installed for
// them: `make setup-test` puts MySQL's packages and the jars into a cache folder (Cache), where FindMySQL and FindJava
// look. Where they can't be had, these say so as Unavailable, and tests are skipped with that reason.
//
// The folder (a Home):
//
//	version        one integer; older ones are migrated, newer ones refused
//	lock           flock of the process that owns the folder, with its pid as text
//	secret         password of the login strata, mode 0600
//	<name>.pid     a running child: pid, start time, what it is (JSON)
//	<name>/        one server: data, tmp, sock, port, log; kafka/ holds the in-process Kafka's log
//
// Guarantees:
//   - At most one process owns a Home. A folder that isn't a Home is refused, never written to.
//   - No child is left behind: a child waits at a gate until its pid file is written, so after a kill -9 of the parent,
//     at whatever instant, the child has ended by itself or the next Open finds and kills it. The start time protects
//     a foreign process that got the same number.
//   - Servers are as durable as production is asked to be (sync_binlog=1, innodb_flush_log_at_trx_commit=1, the in-process
//     Kafka with synced writes; JavaKafka survives a kill, not a power cut) and have what capture asserts (row binlog, full
//     image, full metadata, gtid_strict_mode or gtid_mode).
//   - Every child is a Server: the same Stop, Kill, Pause, Resume, Restart. It keeps its data and, where it is still free,
//     its port from one start to the next. Ports lie below the kernel's ephemeral range, so no outgoing connection takes
//     one while a server is down.
//   - Data is made beside its place and renamed into it, so a start that was cut off leaves nothing half made.
//   - Everything listens on 127.0.0.1 only. The database root has no TCP login; its socket lies in a folder of mode 0700.
//
// Order: Open locks, then checks the version, then clears leftovers. Start brings up live, archive and Kafka together,
// then offline. Stop goes the other way round and ends with the lock.
//
// Failure: errors are *fault.Error. Busy: the folder is held. Invalid: a foreign or newer folder, a bad address in the
// environment. Unavailable: mariadbd isn't installed, or a server didn't come up (the first error and the end of its log
// are in the cause). A Start that failed has stopped what it had started.
//
// Why no cached bootstrap: a copy of a ready data folder (45 MB) took 0.10 s where MariaDB's bootstrap took 0.31 s, too
// little for a cache that can go stale.
//
// Why MySQL runs by its folder's own loader: the packages are newer than the system, and so are the libraries they need.
//
// What it does not do: supervise (a server that dies stays dead; Exited tells), run on anything but Linux (it reads
// /proc), create schemas on servers given by the environment, or more than one broker in a Kafka.
package local
