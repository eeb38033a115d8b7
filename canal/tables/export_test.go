package tables

// JoinOwned is for tests.
func JoinOwned(pos, owned string) string { return joinOwned(pos, owned) }
