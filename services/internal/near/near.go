// Package near measures how alike two names are, for "did you mean" in messages.
package near

// longest is the length beyond which names are not compared: the work grows with
// the product of both lengths, and what was written is somebody else's input.
const longest = 128

// Distance is the number of bytes to change, add or take away to make b of a
// (Levenshtein, 1966). Of a name of more than 128 bytes nothing is near: then it
// is the longer length.
func Distance(a, b string) int {
	if len(a) > longest || len(b) > longest {
		return max(len(a), len(b))
	}
	var buf [longest + 1]int
	row := buf[:len(b)+1]
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := diagonal
			if a[i-1] != b[j-1] {
				change++
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, change)
		}
	}
	return row[len(b)]
}

// Of is the name that is nearest to what was written, "" if none is near: at
// most a third of the letters, and two of a short word, may be wrong. Of several
// that are as near the first one counts.
func Of(written string, names []string) string {
	best, distance := "", min(max(2, len(written)/3), len(written)-1)+1
	for _, n := range names {
		if d := Distance(written, n); d < distance {
			best, distance = n, d
		}
	}
	return best
}
