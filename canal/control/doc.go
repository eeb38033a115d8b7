// Package control is canal's Control, Lease and Desk in the control database.
//
// Purpose: per pipeline the term with who took it, the checkpoint, the lease (canal_leader, one row), tasks (canal_task),
// keys to repair (canal_repair), the evidence log (canal_evidence, append-only), old checkpoints (canal_history) and the
// leader's last report (canal_status). Open makes what is missing and alters nothing.
//
// # Terms
//
// A write of a term that is over never lands after its successor's Take. Each is one statement and its own transaction,
// that locks the leader's row, looks at the term in it, and commits with that lock held; a Take needs the same lock. There
// is never an open transaction with that lock: a leader that is stopped in the middle (SIGSTOP, a dead network) would
// otherwise keep its successor out until its connection is noticed to be dead. What needs several statements is so ordered
// that all but the conditional one are harmless at any time:
//
//   - Settle marks keys under the condition; deleting what is marked is a sweep. An Enqueue takes the mark off.
//   - Remember inserts under the condition; what is thinned out at one time would be at every later time too.
//
// A counter in the leader's row rises with such writes, so that the number of changed rows says whether the condition
// held, also where nothing else changes.
//
// # Keys
//
// A key is unique by a hash of dataset, shard and key, which may be longer than an index takes. Each Enqueue gives it a new
// random version, by which Settle knows that it is still the one that Due returned. Times are the database's.
//
// # History
//
// Of the last 128 checkpoints every one is kept, of each doubling of the age beyond it 64: a million leave 960.
//
// # Failure
//
// A statement whose outcome is unknown (a broken connection) is an error, and the caller ends its term; a term that was
// taken without the caller knowing is skipped by the next one; a task may then be there twice, a key is only due again. A
// deadlock undoes its statement, which is run again, a few times.
//
// It needs no durability beyond the database's own: a lost row costs a look through the topics (their opens have the
// terms) and a refusal to go on where the checkpoint is needed. Nothing is deleted for age but history: tasks and evidence
// stay.
package control
