ALTER ONLINE TABLE IF EXISTS entry WAIT 5 ADD COLUMN IF NOT EXISTS fee BIGINT AFTER id, ADD INDEX (fee);
-- found: notice entry/entry: fee is not in the dataset | topic: envelopes have fee as well | index: no change until the dataset is declared with fee
ALTER TABLE entry DROP COLUMN IF EXISTS note;
-- found: notice entry/entry: note is a column of the dataset; declare the dataset anew without it | topic: envelopes have no note any more | index: note is null in what is written afterwards, and stays in older documents
ALTER TABLE entry ADD COLUMN note VARCHAR(50);
-- found: repair entry/entry: note comes anew under a name of the dataset, with other values | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
ALTER TABLE entry MODIFY amount DECIMAL(20,4);
-- found: refused entry/entry: amount becomes a decimal; the dataset has a int | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry MODIFY amount INT;
-- found: repair entry/entry: taken as changing rows without row events: MODIFY amount INT | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
ALTER TABLE entry MODIFY COLUMN amount BIGINT UNSIGNED NOT NULL;
-- found: refused entry/entry: amount becomes a uint; the dataset has a int | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry CHANGE id nr BIGINT;
-- found: refused entry/entry: id is a column of the key | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
SET STATEMENT max_statement_time=0 FOR ALTER TABLE ledger.entry MODIFY note UUID NOWAIT;
-- found: refused entry/entry: note becomes a uuid; the dataset has a text | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry RENAME COLUMN IF EXISTS fee TO charge;
-- found: notice entry/entry: fee is no column of the dataset; charge is not in the dataset | topic: envelopes have no fee any more; envelopes have charge as well | index: no change until the dataset is declared with charge
ALTER TABLE entry DROP PRIMARY KEY, ADD PRIMARY KEY (id, note(10));
-- found: refused entry/entry: the primary key becomes id, note, the dataset's is id | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry DROP PRIMARY KEY, ADD CONSTRAINT pk PRIMARY KEY USING BTREE (id);
-- found: fine entry/entry: no value of a row changes | topic: no change | index: no change
ALTER TABLE entry ADD SYSTEM VERSIONING;
-- found: refused entry/entry: system versioning makes history rows that look like rows | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry CONVERT TO CHARACTER SET utf8mb4;
-- found: repair entry/entry: taken as changing rows without row events: CONVERT TO CHARACTER SET utf8mb4 | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
ALTER TABLE entry ENGINE=InnoDB, ALGORITHM=INPLACE;
-- found: fine entry/entry: no value of a row changes | topic: no change | index: no change
ALTER TABLE other MODIFY a INT;
-- found: fine /other: not a captured table | topic:  | index: 
ALTER TABLE elsewhere.entry MODIFY a INT;
-- found: fine /entry: not a captured table | topic:  | index: 
ALTER TABLE entry ADD x INT INVISIBLE, ADD y TEXT COMPRESSED, ADD z INT AS (id+1) PERSISTENT;
-- found: notice entry/entry: x is not in the dataset; y is not in the dataset; z is not in the dataset | topic: envelopes have x as well; envelopes have y as well; envelopes have z as well | index: no change until the dataset is declared with x; no change until the dataset is declared with y; no change until the dataset is declared with z
ALTER TABLE entry DO SOMETHING NEW;
-- found: repair entry/entry: taken as changing rows without row events: DO SOMETHING NEW | topic: the shard has to be sent anew in full (strata canal backfill) | index: the shard's documents are as before the statement until it was sent anew
ALTER TABLE entry MODIFY note NEWTYPE(3);
-- found: refused entry/entry: the type NEWTYPE of note is not known here, and may not be a text | topic: the dataset stops at the first row that is written afterwards | index: frozen until the dataset is declared anew and loaded anew
ALTER TABLE entry ADD CONSTRAINT own FOREIGN KEY (amount) REFERENCES account (id) ON DELETE SET NULL;
-- found: refused entry/entry: a foreign key changes its rows without row events (before MySQL 9.6) | topic: the dataset stops at this statement, and is refused at a start, unless it is declared with cascades: accept | index: frozen until the dataset is declared anew and loaded anew
