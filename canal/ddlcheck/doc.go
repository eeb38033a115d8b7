// Package ddlcheck tells what capture will make of DDL that somebody is about to run.
//
// Purpose: `strata canal ddl-check FILE` before a migration: what happens to the envelopes in a dataset's topic, what to the
// index, and whether a shard will have to be sent anew or a dataset will stop.
//
// # Guarantees
//
// The effect of a statement is the one that capture itself will find in the binlog: both read it with canal.ReadStatement.
// What a statement does to columns is told more exactly than capture can (it knows the types as they are now), never more
// kindly: what isn't understood, has no end, or runs what is not in the script is Repair or Refused. Statements are taken in
// their order: a column that the first adds may be renamed by the second. The findings are in the order of the script, one
// for each captured table that a statement touches, and one for a statement that touches none.
//
// # Severities
//
//	fine     nothing is lost and nothing has to be done
//	notice   envelopes or documents will look otherwise, or an alarm will come
//	repair   rows change without row events: the shard has to be sent anew in full
//	refused  the dataset will stop at the first row that is written afterwards, or at once
//
// # What it does not do
//
// It runs nothing, checks no syntax and doesn't say how long a statement takes. It doesn't follow foreign keys, but tells of
// one whose rules change rows unseen (on MySQL from 9.6 on they are seen). It knows tables only as Describe shows them at the
// time of the check.
package ddlcheck
