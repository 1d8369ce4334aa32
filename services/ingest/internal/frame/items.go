package frame

// Items frames an object that is a list in an envelope, as Kubernetes writes
// them: the elements of its member name are the records. A body without such a
// member is framed by JSON.
func Items(body []byte, name string, lim Limits, f *Frames) error {
	pos := skipSpace(body, start(body))
	if pos == len(body) || body[pos] != '{' {
		return JSON(body, lim, f)
	}
	at := member(body, pos+1, name, lim.MaxDepth)
	if at < 0 {
		return JSON(body, lim, f)
	}
	s := splitter{body: body, lim: &lim, f: f, work: 8*len(body) + 4096}
	_, err := s.array(at)
	return err
}

// member is where the array that is the value of name begins; -1: none. What
// looks odd is for JSON to judge.
func member(b []byte, pos int, name string, depth int) int {
	for pos = skipSpace(b, pos); pos < len(b) && b[pos] == '"'; pos = skipSpace(b, pos) {
		end := stringEnd(b, pos)
		if end < 0 {
			return -1
		}
		key := b[pos+1 : end-1]
		if pos = skipSpace(b, end); pos == len(b) || b[pos] != ':' {
			return -1
		}
		if pos = skipSpace(b, pos+1); pos == len(b) {
			return -1
		}
		if string(key) == name && b[pos] == '[' {
			return pos
		}
		end, t := scan(b, pos, depth)
		if t.kind != ok && t.kind != deep {
			return -1
		}
		if pos = skipSpace(b, end); pos < len(b) && b[pos] == ',' {
			pos++
		}
	}
	return -1
}

// Whole takes the body for one record.
func Whole(body []byte, lim Limits, f *Frames) error {
	if len(body) == 0 {
		return nil
	}
	return f.add(&lim, 0, len(body))
}
