// Package kafka is canal's Sink over Kafka, by sarama.
//
// Purpose: topics with a fixed number of partitions, an idempotent producer whose first error is its last word, and exact
// reading of a range of offsets.
//
// # Guarantees
//
// The producer is idempotent, acks=all, one request in flight, so a partition has records in the order of Send. After an
// error nothing more is taken: the caller ends its term and opens a new producer, under a higher term. The partition is
// chosen by canal (Java's murmur2 over the key), so rows of the same key are always in the same partition; a topic with
// another count is refused. Topics are made explicitly with cleanup.policy=delete; automatic creation loses data in some
// brokers.
//
// # Failure
//
// A broker that is away is waited for by sarama's retries (about a minute), then the producer ends with
// fault.Unavailable. A record that Kafka refuses for its size is fault.TooLarge.
//
// # What it does not do
//
// No transactions, no consumer groups (sync has its own), no raising of partition counts.
package kafka
