package notice

// Table is the DDL of `notice`. lease is the token of who sends it now, ” for nobody; next_at is then the lease's end.
// The index due finds each target's next one without reading the others.
const Table = `CREATE TABLE IF NOT EXISTS notice (
  transfer_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  tenant VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  target VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  state ENUM('pending','delivered','given_up') NOT NULL,
  attempt INT NOT NULL,
  resends INT NOT NULL,
  next_at DATETIME(6) NOT NULL,
  lease VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  last_status SMALLINT NOT NULL,
  last_error VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  body MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
  created_at DATETIME(6) NOT NULL,
  ended_at DATETIME(6) NULL,
  PRIMARY KEY (transfer_id),
  KEY due (target, state, next_at),
  KEY state (state, transfer_id),
  KEY ended (state, ended_at)
) ENGINE=InnoDB`
