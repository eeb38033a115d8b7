package control

// The tables, made by Open where they are missing. canal_leader is as it was from the first version on: what came later
// has tables of its own.
func tables() []string { return append(leaderTables(), deskTables()...) }

func leaderTables() []string {
	return []string{`CREATE TABLE IF NOT EXISTS canal_leader (
 pipeline    VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
 term        INT UNSIGNED NOT NULL,
 leader      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 checkpoint  LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
 holder      VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
 lease_until DATETIME(6) NOT NULL,
 writes      BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4`,
		`CREATE TABLE IF NOT EXISTS canal_status (
 pipeline VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
 term     INT UNSIGNED NOT NULL,
 at       DATETIME(6) NOT NULL,
 status   LONGTEXT NOT NULL,
 writes   BIGINT UNSIGNED NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS canal_history (
 pipeline   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 n          BIGINT UNSIGNED NOT NULL,
 term       INT UNSIGNED NOT NULL,
 at         DATETIME(6) NOT NULL,
 checkpoint LONGTEXT NOT NULL,
 PRIMARY KEY (pipeline, n)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`}
}

func deskTables() []string {
	return []string{`CREATE TABLE IF NOT EXISTS canal_task (
 id         BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
 pipeline   VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 state      VARCHAR(16) NOT NULL,
 wish       VARCHAR(16) NOT NULL,
 kind       VARCHAR(16) NOT NULL,
 dataset    VARCHAR(64) NOT NULL,
 shards     MEDIUMTEXT NOT NULL,
 from_key   MEDIUMBLOB NOT NULL,
 to_key     MEDIUMBLOB NOT NULL,
 gtid       MEDIUMTEXT NOT NULL,
 rows_per_second INT NOT NULL,
 done       BIGINT NOT NULL,
 total      BIGINT NOT NULL,
 place      LONGTEXT NOT NULL,
 who        VARCHAR(255) NOT NULL,
 why        TEXT NOT NULL,
 err        TEXT NOT NULL,
 created_at DATETIME(6) NOT NULL,
 updated_at DATETIME(6) NOT NULL,
 KEY (pipeline, state, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		// A key may be longer than an index takes: hash is of dataset, shard and key. settled: done with, to be deleted.
		`CREATE TABLE IF NOT EXISTS canal_repair (
 id       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
 pipeline VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 hash     BINARY(16) NOT NULL,
 version  BIGINT UNSIGNED NOT NULL,
 settled  TINYINT NOT NULL,
 due_at   DATETIME(6) NOT NULL,
 task     BIGINT NOT NULL,
 tries    INT NOT NULL,
 dataset  VARCHAR(64) NOT NULL,
 shard    VARCHAR(64) NOT NULL,
 row_key  MEDIUMBLOB NOT NULL,
 why      TEXT NOT NULL,
 UNIQUE KEY (pipeline, hash),
 KEY (pipeline, settled, due_at),
 KEY (pipeline, task, settled)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`,
		`CREATE TABLE IF NOT EXISTS canal_evidence (
 id       BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
 pipeline VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
 at       DATETIME(6) NOT NULL,
 what     VARCHAR(32) NOT NULL,
 term     INT UNSIGNED NOT NULL,
 who      VARCHAR(255) NOT NULL,
 why      TEXT NOT NULL,
 detail   LONGTEXT NOT NULL,
 KEY (pipeline, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin`}
}
