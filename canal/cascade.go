package canal

// Cascades reports whether the statement declares a foreign key whose parent changes rows of the table: ON DELETE or ON
// UPDATE with CASCADE or SET NULL.
func (s Statement) Cascades() bool {
	for i := 0; i+2 < len(s.words); i++ {
		if s.At(i, "ON") && (s.At(i+1, "DELETE") || s.At(i+1, "UPDATE")) && (s.At(i+2, "CASCADE") || s.At(i+2, "SET") && s.At(i+3, "NULL")) {
			return true
		}
	}
	return false
}
