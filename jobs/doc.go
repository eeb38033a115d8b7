// Package jobs runs things on a schedule: one runner by lease, missed runs caught up, every run in a history.
//
// Purpose: whatever strata does by the clock (cutting the day, making shards ahead of time, ending reservations, purging,
// notifying, archiving) is a Job here. A run has a key, its business date or the instant that it was due, and a key that is
// done is never run again unless somebody forces it: a second run of the same date is a no-op.
//
// # Schedules
//
// "every 5m" is due at multiples of the interval since 1970 in UTC. A crontab line names its time zone and is due when a
// clock on the wall there shows its time. Each shown time is one slot: a time that is skipped in spring is due at the
// instant after the gap, a time that is shown twice in autumn at its first showing only. So a daily job runs once every
// day, whatever the zone does; a line of many times an hour rests while the hour is shown again: give such a job an
// interval, or UTC. Slots that a gap moves to one instant are one key where keys are instants, and keep their dates where
// keys are dates. Schedules are read by go-cron's parser; the due times are this package's.
//
// # Order of writes
//
// The control database has a row per job (strata_job: lease, token, how far slots are planned) and one per key
// (strata_job_run). Every transaction locks the job's row first.
//
//  1. Claim, one transaction: nobody else's lease stands, by the database's clock; the slots since the last plan become
//     waiting keys as Job.CatchUp says, and what is passed over is counted; the oldest key that is waiting, or that a
//     vanished runner left running, becomes running with the next token; the lease is taken. Keys run in the order of
//     their slots: one that waits to be tried again holds up those after it, one that has failed for good does not.
//  2. The job runs, without a transaction, while its lease is renewed where the token is still its own.
//  3. Record, one transaction: only if job and key still have the claim's token, the key gets its outcome and the lease is
//     given back. A lost answer to this commit is resolved by doing it again.
//
// # Guarantees
//
//   - For each key exactly one completion is recorded (one more for each forced run), whatever dies or pauses, and for how
//     long. No two claims of a job have one token; tokens rise.
//   - The job's work itself is done at least once: a runner that is paused beyond its lease goes on until it notices. It
//     learns that it has lost its lease by the end of its context (cause ErrLost) or when its result is refused, and what
//     it writes meanwhile must be idempotent by key, or conditional on Due.Token.
//   - A slot that nobody ran in its time is run late, or passed over and counted, as Job.CatchUp says; nothing is dropped
//     in silence, but slots more than ten years back.
//   - A clock that jumps changes when things run, not how often. Slots that a clock ahead has planned stay planned, so
//     nothing is begun while the clock here is more than Config.MaxSkew away from the database's.
//
// # Failure
//
// A run that returns an error, panics, or whose process vanishes has failed once; it is tried again after a wait that
// doubles, and after Job.MaxAttempts failures the key stays failed, visible, until it is run by hand. A stop is no
// failure: the key waits, for any process. A vanished runner's job is taken when its lease has ended. While the database is
// away nothing begins; a run that ends meanwhile is recorded when the database is back within a lease, else it runs
// again. RunNow takes the same lease and is Busy while somebody has it.
//
// # What it does not do
//
// No dependencies between jobs (a job that needs another's result checks for it), no two keys of a job at a time, no
// priorities, no second-exact starts: a job is looked at once per Config.Poll. A run that ignores its context is waited
// for. History beyond Job.Keep runs is forgotten; a key so old is only run by force.
package jobs
