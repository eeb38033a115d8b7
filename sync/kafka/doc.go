// Package kafka is the syncer's Feed over Kafka, by sarama.
//
// It reads partitions with plain consumers from the offset that the index's watermark names; no consumer group decides
// who reads what: package syncer's leases do. Offsets are committed to group strata-sync-<index> with the highest open term as
// metadata, for people and lag tools; nothing reads them back.
//
// An offset that is no longer there, or not yet (retention, a topic made anew), is fault.Stale and is never reset in silence:
// Bounds says what there is. A topic with another number of partitions is fault.Unsafe. A broker that is away is
// fault.Unavailable. A record without strata's headers is fault.Invalid.
//
// A partition that is opened twice at the same time, since two generations of an index are fed from it, is fetched twice.
//
// Memory: a fetch is at most 4 MiB over all partitions, at most 1 MiB and at least 64 KiB of each, or one batch of the producer if
// it is larger; sarama has up to two of a partition, which may unpack to eight times as much and more than that again in what
// stands around a record, and hands over 64 records ahead. Over a backlog of eight partitions, three times as much was 200 MiB
// more of resident memory.
//
// TLS and SASL are as package broker says.
//
// What it does not do: it creates no topics.
package kafka
