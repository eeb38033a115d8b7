// Package archive moves closed shards from the live store to an archive, whole tables at a time, and proves it.
//
// Purpose: the live database stays small. A Policy says from which age on; Plan shows what would move and what can't;
// Run moves exactly what a Plan says; Check compares what lies in the archive with the signed manifest of its move.
//
// # The steps of a move
//
// Each step can be repeated, and a successor goes on from what strata_part of both servers says (Stage), nothing else:
//
//	take     the successor takes the table's lock on live, killing the holder's connection, and writes its own token into
//	         the part's row on live, then on the archive; both servers refuse the old token from then on
//	copy     rows in key order, read in snapshots of the live part, into a table of the same definition; each transaction
//	         on the archive first locks the part's row there and checks the token
//	fence    AFTER triggers on live refuse every insert, update and delete of the table, whoever asks, but for the token's
//	         bearer; then what was prepared by XA before the fence must be gone
//	compare  under a pin (an open snapshot on the live primary: TRUNCATE, ALTER, RENAME and DROP wait for it) every row
//	         of both sides is hashed, counted and summed; what differs is copied again; then the manifest is kept
//	own      every promotable live server has the fence; both servers are who they were; the pin stands; the archive's
//	         row says owned at the epoch of the locked live row + 1
//	release  the pin still stands; the live row says released, with that epoch and the manifest's digest
//	prune    enough archive servers have own's commit; a marker row, RENAME to a name of this attempt, every row hashed
//	         again against the manifest, DROP, all on the connection that holds the lock
//	seal     nothing is left on live; the tokens go; the manifest is signed
//
// # Guarantees
//
//   - L5: at every instant, after a crash at any point too, each row is readable through exactly one owner: a reader that
//     takes the owner with the highest epoch and checks the part in its own snapshot. Between own and release that is the
//     archive. A table is dropped only after its own rows were hashed and found to be the manifest's, whose rows were
//     committed on the archive before.
//   - L6: no row is deleted on live. A captured server sees a marker row and two DDL statements.
//   - L10: Plan only reads; Run does what the plan lists, nothing else, and looks at every obstacle once more.
//   - A mover whose token was replaced can write nothing: not a row, a state, a trigger or a DROP.
//
// # Failure
//
// Errors end the move, not the run: other datasets go on. Busy: somebody holds the table longer than the retries, try
// again. Conflict: another mover took over. Unsafe: a server changed its identity or settings, or the table became
// unmovable (the begun move is then undone: copy dropped, fence taken away last). Proof: rows differ and can't be made
// equal; nothing was deleted. Where the pin was lost between compare and release, the rows are compared again, and the
// range goes back to live at a higher epoch if they differ.
//
// # What it does not do
//
// It moves no part of a table and never the current, a late or an unsharded one. It schedules nothing, brings nothing
// back (restore), and keeps no answer's correctness in the control database: losing that costs history and signatures.
//
// Why fence the whole table rather than the range: a row outside the range would otherwise be let in after the last
// compare and be lost with the table; in a whole-table move there is nothing that a writer may still do.
package archive
