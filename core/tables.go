package core

// The physical form of the ledger, which is all that the pipeline ever meets of it. Amounts are signed minor units of the
// account's unit: positive is a credit, negative a debit, so that every transfer's entries sum to zero per unit.
//
//	account             unsharded, key id
//	transfer_YYYYMM     by order_time (when the outside world ordered it), key id
//	entry_YYYYMM        by accounting_date, key (account_id, seq)
//	transfer_late_1, entry_late_1   rows of ranges that have left live
//	transfer_id         unsharded, not a dataset: one row per id ever answered, with the answer
//	day                 one row: the open accounting date

// AccountTable is the DDL of `account`.
const AccountTable = `CREATE TABLE IF NOT EXISTS account (
  id BIGINT NOT NULL,
  name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  min_balance BIGINT NULL,
  balance BIGINT NOT NULL,
  entries BIGINT NOT NULL,
  opened_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB`

// TransferTable is the DDL of a shard of `transfer`, without the table's name.
const TransferTable = `(
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  kind VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  order_time DATETIME(6) NOT NULL,
  accounting_date DATE NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  legs SMALLINT NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  memo VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (id),
  KEY order_time (order_time, id)
) ENGINE=InnoDB`

// EntryTable is the DDL of a shard of `entry`, without the table's name. seq numbers an account's entries from 1 without
// a hole, in posting order; balance_after of one is balance_before of the next.
const EntryTable = `(
  account_id BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  leg SMALLINT NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  balance_before BIGINT NOT NULL,
  balance_after BIGINT NOT NULL,
  accounting_date DATE NOT NULL,
  order_time DATETIME(6) NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  PRIMARY KEY (account_id, seq),
  KEY accounting_date (accounting_date, account_id, seq),
  KEY transfer_id (transfer_id)
) ENGINE=InnoDB`

// TransferIDTable is the DDL of `transfer_id`: the memory of every answer given (law L12).
const TransferIDTable = `CREATE TABLE IF NOT EXISTS transfer_id (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  body_hash BINARY(32) NOT NULL,
  outcome ENUM('applied','refused') NOT NULL,
  answer TEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  order_time DATETIME(6) NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY posted_at (posted_at)
) ENGINE=InnoDB`

// DayTable is the DDL of `day`.
const DayTable = `CREATE TABLE IF NOT EXISTS day (
  id TINYINT NOT NULL,
  accounting_date DATE NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB`
