// Package kafka is the syncer's Feed over Kafka, by sarama.
//
// It reads partitions with plain consumers from the offset that the index's watermark names; no consumer group decides
// who reads what, because applying twice is harmless and one process applies a dataset. Offsets are committed to group
// strata-sync-<index> with the highest open term as metadata, for people and lag tools; nothing reads them back.
//
// An offset that is no longer there (retention, a topic made anew) is fault.Unsafe and is never reset in silence; so is a
// topic with another number of partitions. A broker that is away is fault.Unavailable. A record without strata's headers
// is fault.Invalid.
//
// A partition that is opened twice at the same time, since two generations of an index are fed from it, is fetched twice.
//
// Memory: sarama holds up to 256 records and one fetch (4 MiB, or one record if it is larger) per partition.
//
// TLS and SASL are as package broker says.
//
// What it does not do: it creates no topics and follows no group rebalance.
package kafka
