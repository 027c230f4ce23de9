package config

// Nearest returns the one of known that was probably meant by word, or "" if
// none is close: at most two letters, and less than half the word, differ. Of
// equally close ones it returns the first.
func Nearest(word string, known []string) string {
	best, found := min(2, (len(word)-1)/2)+1, ""
	for _, k := range known {
		if d := distance(word, k); d < best {
			best, found = d, k
		}
	}
	return found
}

// distance is how many letters must be inserted, removed, replaced or swapped
// with their neighbour to make a into b.
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row above the one above
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(above[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
