package voucher

// tables are the DDLs of this package's tables. They are unsharded, in the ledger's own database, and always live.
func tables() []string {
	return []string{
		`CREATE TABLE IF NOT EXISTS voucher_rule (
  version BIGINT NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  author VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  reason VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  at DATETIME(6) NOT NULL,
  active_from DATE NOT NULL,
  seal BINARY(32) NOT NULL,
  PRIMARY KEY (version)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS voucher_head (
  id TINYINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (id)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS voucher (
  accounting_date DATE NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  rule_version BIGINT NOT NULL,
  state ENUM('booked','none','failed') NOT NULL,
  line_count INT NOT NULL,
  code VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  reason VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  attempts INT NOT NULL,
  made_at DATETIME(6) NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  seal BINARY(32) NOT NULL,
  PRIMARY KEY (accounting_date, transfer_id),
  UNIQUE KEY transfer_id (transfer_id),
  KEY state (state, accounting_date, transfer_id)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS journal (
  accounting_date DATE NOT NULL,
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  line INT NOT NULL,
  subject VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  debit BIGINT NOT NULL,
  credit BIGINT NOT NULL,
  PRIMARY KEY (accounting_date, transfer_id, line)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS general_ledger (
  accounting_date DATE NOT NULL,
  subject VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  unit VARCHAR(12) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  debit DECIMAL(38,0) NOT NULL,
  credit DECIMAL(38,0) NOT NULL,
  PRIMARY KEY (accounting_date, subject, unit)
) ENGINE=InnoDB`,
		`CREATE TABLE IF NOT EXISTS voucher_day (
  accounting_date DATE NOT NULL,
  booked BIGINT NOT NULL,
  none BIGINT NOT NULL,
  failed BIGINT NOT NULL,
  PRIMARY KEY (accounting_date)
) ENGINE=InnoDB`,
	}
}
