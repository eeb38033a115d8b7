package core

// The physical form of the ledger, which is all that the pipeline ever meets of it. Amounts are signed minor units of the
// account's unit: positive is a credit, negative a debit, so that every transfer's entries sum to zero per unit.
//
//	account             unsharded, key id
//	transfer_YYYYMM     by order_time (when the outside world ordered it), key id
//	entry_YYYYMM        by accounting_date, key (account_id, seq)
//	transfer_late_1, entry_late_1   rows of ranges that have left live
//
// Beside the three datasets, unsharded and always live, so that no archive move takes what the ledger still changes:
//
//	transfer_id         one row per id ever answered, with the answer; purged beyond the horizon
//	day                 one row: the open accounting date, the settings' version, how many accounts are not RealTime
//	setting             the versions of the settings
//	account_mode        one row per account that ever left RealTime; posters share-lock it, a switch takes it exclusively
//	buffer              credits that wait for a merge
//	fund                balances by nature
//	limit_use           what is used of limits
//	reservation         what Trys left
//	reversed            how much of a transfer was reversed, per leg
//	merchant_order      which transfers named an order number
//	outbox              events that a consumer has not done
//	day_balance         frozen balances per account and closed accounting date

// AccountTable is the DDL of `account`.
const AccountTable = `CREATE TABLE IF NOT EXISTS account (
  id BIGINT NOT NULL,
  name VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  tenant VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  side ENUM('credit','debit') NOT NULL DEFAULT 'credit',
  min_balance BIGINT NULL,
  max_balance BIGINT NULL,
  state ENUM('open','frozen','closed') NOT NULL DEFAULT 'open',
  mode ENUM('real_time','buffered','sub_accounts','simple') NOT NULL DEFAULT 'real_time',
  strategy VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  parent BIGINT NOT NULL DEFAULT 0,
  metadata VARCHAR(2048) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  balance BIGINT NOT NULL,
  debits BIGINT NOT NULL DEFAULT 0,
  credits BIGINT NOT NULL DEFAULT 0,
  pending_debits BIGINT NOT NULL DEFAULT 0,
  pending_credits BIGINT NOT NULL DEFAULT 0,
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
  action ENUM('post','confirm','reverse') NOT NULL DEFAULT 'post',
  of_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  business_date DATE NULL,
  tenant VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  merchant_order VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  product VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  metadata VARCHAR(2048) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
  PRIMARY KEY (id),
  KEY order_time (order_time, id)
) ENGINE=InnoDB`

// EntryTable is the DDL of a shard of `entry`, without the table's name. seq numbers an account's entries from 1 without
// a hole, in posting order; balance_after of one is balance_before of the next. funds is the amount by nature where the
// account has a Strategy: {"cash":-500,"bonus":-200}, else ”.
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
  funds VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  PRIMARY KEY (account_id, seq),
  KEY accounting_date (accounting_date, account_id, seq),
  KEY transfer_id (transfer_id)
) ENGINE=InnoDB`

// TransferIDTable is the DDL of `transfer_id`: the memory of every answer given (law L12).
const TransferIDTable = `CREATE TABLE IF NOT EXISTS transfer_id (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  body_hash BINARY(32) NOT NULL,
  outcome ENUM('applied','refused') NOT NULL,
  answer MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  order_time DATETIME(6) NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY posted_at (posted_at)
) ENGINE=InnoDB`

// DayTable is the DDL of `day`. settings is the version in force; modes is above 0 once any account left RealTime.
const DayTable = `CREATE TABLE IF NOT EXISTS day (
  id TINYINT NOT NULL,
  accounting_date DATE NOT NULL,
  settings BIGINT NOT NULL DEFAULT 0,
  modes BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
) ENGINE=InnoDB`

// SideTables are the DDLs of the other unsharded tables.
func SideTables() []string { //nolint:funlen // a list
	return []string{
		`CREATE TABLE IF NOT EXISTS setting (
  version BIGINT NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  author VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  reason VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at DATETIME(6) NOT NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS account_mode (
  account_id BIGINT NOT NULL,
  mode ENUM('real_time','buffered','sub_accounts','simple') NOT NULL,
  state ENUM('open','frozen','closed') NOT NULL,
  inner_count SMALLINT NOT NULL DEFAULT 0,
  PRIMARY KEY (account_id)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS buffer (
  id BIGINT NOT NULL AUTO_INCREMENT,
  account_id BIGINT NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  leg SMALLINT NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  funds VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  accounting_date DATE NOT NULL,
  order_time DATETIME(6) NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  PRIMARY KEY (id),
  KEY account_id (account_id, id)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS fund (
  account_id BIGINT NOT NULL,
  nature VARCHAR(24) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  balance BIGINT NOT NULL,
  pending BIGINT NOT NULL,
  PRIMARY KEY (account_id, nature)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS limit_use (
  name VARCHAR(48) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  subject VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  period VARCHAR(10) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  amount BIGINT NOT NULL,
  count BIGINT NOT NULL,
  PRIMARY KEY (name, subject, period)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS reservation (
  id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state ENUM('pending','confirmed','cancelled','expired','fenced') NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  day DATE NOT NULL,
  at DATETIME(6) NOT NULL,
  expires DATETIME(6) NULL,
  ended_by VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
  ended_at DATETIME(6) NULL,
  late_trys BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (id),
  KEY state (state, id),
  KEY expires (state, expires)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS reversed (
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  leg SMALLINT NOT NULL,
  amount BIGINT NOT NULL,
  PRIMARY KEY (transfer_id, leg)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS merchant_order (
  tenant VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  merchant_order VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  PRIMARY KEY (tenant, merchant_order, transfer_id)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS outbox (
  consumer VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  posted_at DATETIME(6) NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  PRIMARY KEY (consumer, transfer_id),
  KEY posted_at (consumer, posted_at)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS day_balance (
  accounting_date DATE NOT NULL,
  account_id BIGINT NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  balance BIGINT NOT NULL,
  debits BIGINT NOT NULL,
  credits BIGINT NOT NULL,
  entries BIGINT NOT NULL,
  PRIMARY KEY (accounting_date, account_id),
  KEY account_id (account_id, accounting_date)
) ENGINE=InnoDB`,
	}
}
