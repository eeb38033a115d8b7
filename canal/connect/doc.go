// Package connect proves by foreign programs that others can read what capture writes. It holds tests only.
//
// Purpose: docs/wire.md promises that any consumer with JSON, and Kafka Connect with Debezium's transform, can follow a
// dataset's topic. Own readers can't show that, for they share code and misunderstandings with the writer. So real
// programs of others read a real broker:
//   - Kafka Connect, standalone: JsonConverter with schemas, the filter by header and Debezium's ExtractNewRecordState of
//     docs/wire.md, and a file sink. The file's lines are, per key, the row's history: one line a change, with the cells
//     that SELECT gave after it, and with deletes.
//   - A Java program of its own (testdata/Replay.java) on Kafka's client and a JSON parser, written after docs/wire.md
//     alone. It drops a dead leader's records, watches the numbers and ends with exactly the table's rows.
//
// The writer is the whole capture: MariaDB's binlog, a Leader with two terms, the Kafka sink.
//
// Failure: without a JVM with the jars of local/jvm the tests are skipped and say what is missing.
//
// What it does not do: measure, or test Kafka Connect's own faults.
package connect
