// Package kafka is canal's Sink over Kafka: topics with a fixed number of partitions, an idempotent producer whose first
// error is its last word, and exact reading of a range of offsets. sarama is the client; the producer is our own.
//
// # Guarantees
//
// A partition has the records in the order of Send, each once within a producer, acknowledged by all replicas in sync. After
// an error nothing more is taken, and nothing more is sent: the caller ends its term and opens a new producer, under a higher
// term. The partition is chosen by canal (Java's murmur2 over the key), so rows of the same key are always in the same
// partition; a topic with another count is refused, one that is compacted too. Topics are made explicitly with
// cleanup.policy=delete; automatic creation loses data in some brokers. max.message.bytes is set to the limit of a record,
// and raised where it is lower; dead letters are kept for ever. A topic that Ensure makes has a leader for each partition that answers, when Ensure returns;
// Bounds and Read wait up to 10 s for a leader that is being elected.
//
// # Order of writes
//
// Send encodes each record into the last batch of its partition (at most 900 KiB, or one larger record), at most 64 MiB for
// all. A goroutine a broker takes the first batch of each partition that it leads, gives it the next sequence numbers, makes
// its bytes final, sends all in one request and waits. Nothing lingers: an idle broker is sent to at once, and batches grow
// while a request is in flight. A batch leaves its place only when it is acknowledged, so no later one can overtake it.
//
// # Failure
//
// After a lost connection, or a broker's answer that it may pass (not the leader, not enough replicas, timed out, …), the
// leader is asked for and the same bytes are sent again under the same sequence numbers, until DeliveryTimeout, then the
// producer ends with fault.Unavailable. DUPLICATE_SEQUENCE_NUMBER means written; where the broker has forgotten at which
// offset, Acked becomes the partition's end, before which all of this producer's records are. Out of order, an unknown or
// fenced producer id, and every answer that is not known here end the producer at once. So do: a record or batch that is too
// large (fault.TooLarge, with the dataset or topic and the size of the key), a topic that the brokers don't know for 5 s
// (fault.NotFound), a topic with another id, and an acknowledged offset below an earlier one (fault.Unsafe: the topic was
// made anew, or its log was cut). An ended ctx in Send ends the producer too.
//
// Closing cuts the connections and waits for the goroutines only: what was in flight may arrive, even later. Producer ids are
// not kept, so across producers a record can be there twice; a reader's Gate and numbers sort that out.
//
// # Why not sarama's producer
//
// It costs more than 7 times as much of our CPU: 6.5-8.8 µs a record of 400 bytes with 7 headers, against 0.5-0.9 µs here (kfake
// and Kafka 4.1 in processes of their own, 8 partitions, 2 busy cores: go test -bench Producer). sarama's own form of a batch
// alone would add 1 µs, so produce requests (version 8) are written here, on a connection that sarama has opened and logged
// in. Compression costs 0.3 µs a record more with lz4 or snappy, 1.4 µs with zstd, and pays where the network or the
// brokers' disks are the limit; the default is none.
//
// # What it does not do
//
// No transactions, no consumer groups (sync has its own), no raising of partition counts. It does not log in again before a
// session ends (KIP-368): the broker then cuts the connection, and the batch is sent again on a new one.
package kafka
