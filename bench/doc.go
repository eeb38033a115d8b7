// Command bench measures strata on this machine: `go run ./bench` lists the benchmarks, `go run ./bench NAME` runs one.
//
// # Purpose
//
// Figures that anybody can repeat with one command: how fast rows go from commit to search, and what the router costs over
// asking one table. It prints figures and never judges them.
//
// # What every benchmark does
//
//   - It starts what it needs itself (servers of strata/local, a node) in a temporary folder and removes it at the end. The
//     environment's servers are never used.
//   - It checks that the work was done: documents are counted, pages are compared with the plain table's. A wrong answer is
//     an error, not a figure.
//   - Kafka and Elasticsearch are real ones in JVMs of their own, where `make setup-test` found Java; else Kafka is in this process
//     and Elasticsearch is not measured. The settings say which.
//   - It warms up, then runs its sides in turn (A B A B …) in one process: 3 rounds, 2 with --quick. --quick uses smaller
//     sizes and ends within 50 s of 2 cores, after compiling; index, which works off its backlog of 200,000 records twice, within
//     100 s.
//   - It prints every run, the machine with its load average before the start, the settings, and the ratios. Durability is
//     read back from the servers (sync_binlog=1, innodb_flush_log_at_trx_commit=1); anything else is refused.
//
// A ratio is made per round, from the two runs of that round, and what is reported is the median over the rounds; of two
// rounds the median is the mean. A percentile is the nearest rank over the samples of one run.
//
// With --json the last line of standard output is one object: bench, ratios (name to number), raw (every run), machine,
// settings.
//
// # Baselines
//
// Each is the plainest code with the stock library, in a file baseline_*.go of its own, under 60 lines: what somebody
// would write who needs nothing of what strata guarantees.
//
// # What it does not do
//
// It measures one machine on which client, servers and pipeline share the cores. It isn't a test: `make test` never runs
// it. Nothing is compared with figures of other machines.
package main
