package control

// Kept is for tests.
func Kept(n, newest uint64) bool { return kept(n, newest) }
