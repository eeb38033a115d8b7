/* new shards */
CREATE TABLE e_202612 (id BIGINT PRIMARY KEY, at DATETIME NOT NULL, note TEXT);
-- found: fine e/e_202612: a new shard of the dataset: it is captured by itself | topic: its rows are sent from the first one on | index: its documents come with them
CREATE TABLE e_202701 LIKE e_202612;
-- found: fine e/e_202701: a new shard of the dataset: it is captured by itself | topic: its rows are sent from the first one on | index: its documents come with them
CREATE TABLE e_202702 (id BIGINT, at DATETIME, PRIMARY KEY (id, at));
-- found: refused e/e_202702: its primary key is "id, at", the dataset's is "id" | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
CREATE TABLE e_202703 (id BIGINT PRIMARY KEY, note TEXT);
-- found: refused e/e_202703: it has no column at | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
CREATE TABLE e_202704 (id BIGINT PRIMARY KEY, at DATETIME) PERIOD SOMETHING;
-- found: notice e/e_202704: a new shard of the dataset, whose definition is not understood here | topic: its rows are sent from the first one on, if its key and columns are the dataset's | index: as the topic
CREATE TABLE e_202705 (id BIGINT PRIMARY KEY) SELECT 1 AS id;
-- found: repair e/e_202705: taken as changing rows without row events: the table was filled by the statement itself | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
CREATE OR REPLACE TABLE entry (id BIGINT PRIMARY KEY);
-- found: notice entry/entry: the rows of entry go with replace; the new table must have the key id and the columns of the dataset; it lacks columns of the dataset | topic: no record: the rows go without row events, an alarm tells of it (rows_gone: keep); its envelopes have no amount, note, doc | index: the documents stay until a verifier has them repaired; amount, note, doc null
CREATE OR REPLACE TABLE entry (x INT);
-- found: refused entry/entry: it has no column id; its primary key is "", the dataset's is "id" | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
CREATE TABLE e_202706 SELECT 1 AS id;
-- found: refused e/e_202706: its primary key is "", the dataset's is "id" | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
CREATE TABLE e_202707 (id INT UNSIGNED PRIMARY KEY, at DATE NOT NULL, note BLOB);
-- found: refused e/e_202707: its id is a uint; the dataset has a int; its at is a date; the dataset has a datetime; its note is a binary; the dataset has a text | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
CREATE INDEX i ON entry (amount);
-- found: fine /: it changes no row of a table | topic:  | index: 
TRUNCATE TABLE e_202601;
-- found: refused e/e_202601: the rows of e_202601 go with truncate | topic: nothing more is sent: the dataset stops (rows_gone: stop) | index: frozen until the dataset is repaired
DROP TABLE entry, unknown;
-- found: notice entry/entry: the rows of entry go with drop | topic: no record: the rows go without row events, an alarm tells of it (rows_gone: keep) | index: the documents stay until a verifier has them repaired
-- found: fine /unknown: not a captured table | topic:  | index: 
RENAME TABLE entry TO entry_old, entry_new TO entry;
-- found: repair entry/entry: taken as changing rows without row events: another table takes this name, with the rows that it has | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
-- found: fine /entry_old: not a captured table | topic:  | index: 
-- found: fine /entry_new: not a captured table | topic:  | index: 
ALTER TABLE e_202601 EXCHANGE PARTITION p0 WITH TABLE staging;
-- found: repair e/e_202601: taken as changing rows without row events: EXCHANGE PARTITION p0 WITH TABLE staging | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
-- found: fine /staging: not a captured table | topic:  | index: 
ALTER TABLE e_202601 TRUNCATE PARTITION p0;
-- found: refused e/e_202601: the rows of a partition of e_202601 go | topic: nothing more is sent: the dataset stops (rows_gone: stop) | index: frozen until the dataset is repaired
ALTER TABLE entry DROP PARTITION p0;
-- found: notice entry/entry: the rows of a partition of entry go | topic: no record: the rows go without row events, an alarm tells of it (rows_gone: keep) | index: the documents stay until a verifier has them repaired
ALTER TABLE e_202601 REORGANIZE PARTITION p0 INTO (PARTITION p1 VALUES LESS THAN (5), PARTITION p2 VALUES LESS THAN (9));
-- found: fine e/e_202601: no value of a row changes | topic: no change | index: no change
UPDATE entry SET note='x';
-- found: fine /: not DDL; it must not be run with binlog_format=STATEMENT | topic: its rows are captured as any other's | index: 
USE elsewhere;
TRUNCATE TABLE entry;
-- found: fine /entry: not a captured table | topic:  | index: 
DROP DATABASE ledger;
-- found: notice entry/: every table of the schema goes | topic: no record: the rows go without row events, an alarm tells of it (rows_gone: keep) | index: the documents stay until a verifier has them repaired
-- found: refused e/: every table of the schema goes | topic: nothing more is sent: the dataset stops (rows_gone: stop) | index: frozen until the dataset is repaired
USE ledger;
CREATE TABLE e_202702 (id BIGINT PRIMARY KEY, at DATETIME NOT NULL, note INT, FOREIGN KEY (note) REFERENCES n (id) ON UPDATE CASCADE);
-- found: refused e/e_202702: a foreign key changes its rows without row events (before MySQL 9.6); its note is a int; the dataset has a text | topic: the dataset stops at this statement, and is refused at a start, unless it is declared with cascades: accept; the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
