package sqltext

import (
	"errors"
	"strings"
)

// Kind says how a statement has to be run.
type Kind uint8

// The kinds of statements.
const (
	Empty       Kind = iota // nothing but space and comments
	Select                  // SELECT and WITH … SELECT: the result can be streamed
	Inspect                 // SHOW, DESCRIBE, EXISTS, EXPLAIN: reads, small result
	Insert                  // INSERT whose data follows in the text or after it
	InsertQuery             // INSERT … SELECT
	Other                   // everything else: changes something
)

// ReadOnly reports whether statements of this kind only read.
func (k Kind) ReadOnly() bool { return k == Empty || k == Select || k == Inspect }

// Statement is what Parse found.
type Statement struct {
	Kind Kind
	// SQL is the text to run, without the closing semicolon. For Insert it
	// ends before VALUES or FORMAT.
	SQL string
	// Format is the FORMAT of an Insert, or "Values", or empty when the
	// INSERT names none and the caller's default holds.
	Format string
	// Data is where the data of an Insert begins in the text given to Parse;
	// its length when none follows.
	Data int
	// OutFormat is the FORMAT that a Select or Inspect names for its result.
	OutFormat string
	// Calls are the names written before an opening parenthesis, in lower
	// case: functions, table functions, engines, and some others.
	Calls map[string]bool
	// Files reports INTO OUTFILE or FROM INFILE, which name files of the host.
	Files bool

	apply bool // the last tokens were APPLY and a parenthesis
}

// ErrMany reports several statements in one text.
var ErrMany = errors.New("multi-statements are not allowed")

// ErrSemicolon reports a semicolon between the FORMAT of an INSERT and its data.
var ErrSemicolon = errors.New("you have excessive ';' symbol before data for INSERT")

// inspect holds the first words of statements that only read and answer shortly.
var inspect = map[string]bool{"SHOW": true, "DESCRIBE": true, "DESC": true, "EXISTS": true, "EXPLAIN": true}

// Parse looks at one statement. The text of an INSERT may go on with binary
// data: nothing after the FORMAT name is looked at.
func Parse(text string) (Statement, error) {
	st := Statement{Data: len(text)}
	l := &lexer{s: text}
	t, ok := l.next()
	for ok && t.text == "(" && t.kind == punct {
		t, ok = l.next()
	}
	if !ok {
		return st, nil
	}
	first := strings.ToUpper(t.text)
	switch {
	case t.kind != word:
		st.Kind = Other
	case first == "SELECT" || first == "WITH" || first == "FROM":
		st.Kind = Select
	case inspect[first]:
		st.Kind = Inspect
	case first == "INSERT":
		return parseInsert(text, l)
	default:
		st.Kind = Other
	}
	return parseRest(text, l, st, first == "WITH")
}

// parseRest reads to the end of a statement that carries no data.
func parseRest(text string, l *lexer, st Statement, with bool) (Statement, error) {
	st.Calls = map[string]bool{}
	end, prev, depth := len(text), token{}, 0
	for {
		t, ok := l.next()
		if !ok {
			break
		}
		if t.kind == punct && t.text == ";" {
			end = t.start
			for {
				t, ok := l.next()
				if !ok {
					break
				}
				if t.text != ";" {
					return st, ErrMany
				}
			}
			break
		}
		st.note(prev, t)
		switch {
		case t.text == "(" && t.kind == punct:
			depth++
		case t.text == ")" && t.kind == punct:
			depth--
		case with && depth == 0 && t.kind == word && strings.EqualFold(t.text, "INTO") && prev.kind == word && strings.EqualFold(prev.text, "INSERT"):
			st.Kind = InsertQuery // WITH … INSERT INTO … SELECT
		}
		if depth == 0 && t.kind == word && prev.kind == word && strings.EqualFold(prev.text, "FORMAT") {
			st.OutFormat = t.text
		}
		prev = t
	}
	st.SQL = text[:end]
	st.Data = len(text)
	return st, nil
}

// note records what two neighbouring tokens mean. APPLY calls a function that
// it names without parentheses, or inside its own.
func (st *Statement) note(prev, t token) {
	if t.kind == word || t.kind == quoted {
		if st.apply || prev.kind == word && strings.EqualFold(prev.text, "APPLY") {
			st.Calls[strings.ToLower(t.text)] = true
		}
		st.apply = false
	} else if t.kind == punct && t.text == "(" && prev.kind == word && strings.EqualFold(prev.text, "APPLY") {
		st.apply = true
	}
	if t.kind == punct && t.text == "(" && (prev.kind == word || prev.kind == quoted) {
		st.Calls[strings.ToLower(prev.text)] = true
	}
	if t.kind == str && prev.kind == word && (strings.EqualFold(prev.text, "OUTFILE") || strings.EqualFold(prev.text, "INFILE")) {
		st.Files = true
	}
}

// parseInsert reads on after INSERT up to the data or the SELECT.
func parseInsert(text string, l *lexer) (Statement, error) {
	st := Statement{Kind: Insert, Calls: map[string]bool{}, Data: len(text), SQL: text}
	prev, depth := token{kind: word, text: "INSERT"}, 0
	for {
		t, ok := l.next()
		if !ok {
			return st, nil
		}
		st.note(prev, t)
		named := prev.kind == word && (strings.EqualFold(prev.text, "INTO") || strings.EqualFold(prev.text, "TABLE")) || prev.text == "."
		switch {
		case t.kind == punct && t.text == "(":
			if depth == 0 && startsQuery(*l) {
				return insertSelect(text, l, st)
			}
			depth++
		case t.kind == punct && t.text == ")":
			depth--
		case depth != 0 || named:
		case t.kind == punct && t.text == ";":
			st.SQL = text[:t.start]
			if _, more := l.next(); more {
				return st, ErrMany
			}
			return st, nil
		case t.kind != word:
		case strings.EqualFold(t.text, "VALUES"):
			st.SQL, st.Format, st.Data = text[:t.start], "Values", t.end
			return st, nil
		case strings.EqualFold(t.text, "FORMAT"):
			return insertFormat(text, l, st, t)
		case strings.EqualFold(t.text, "SELECT"), strings.EqualFold(t.text, "WITH"):
			return insertSelect(text, l, st)
		}
		prev = t
	}
}

// startsQuery reports whether a parenthesis opened a query, not a column list.
func startsQuery(l lexer) bool {
	for {
		t, ok := l.next()
		if !ok {
			return false
		}
		if t.text == "(" {
			continue
		}
		return t.kind == word && (strings.EqualFold(t.text, "SELECT") || strings.EqualFold(t.text, "WITH"))
	}
}

func insertSelect(text string, l *lexer, st Statement) (Statement, error) {
	calls, files := st.Calls, st.Files
	st, err := parseRest(text, l, Statement{Kind: InsertQuery}, false)
	for c := range calls {
		if st.Calls != nil {
			st.Calls[c] = true
		}
	}
	st.Files = st.Files || files
	return st, err
}

// insertFormat takes the format's name and finds the first byte of the data:
// blanks and one line break after the name are not part of it.
func insertFormat(text string, l *lexer, st Statement, format token) (Statement, error) {
	name, ok := l.next()
	if !ok || name.kind != word {
		return st, nil // let the engine explain
	}
	st.SQL, st.Format = text[:format.start], name.text
	if strings.EqualFold(name.text, "VALUES") {
		st.Format = "Values"
	}
	i := name.end
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\f') {
		i++
	}
	if i < len(text) && text[i] == ';' {
		if strings.TrimSpace(text[i+1:]) != "" {
			return st, ErrSemicolon
		}
		i = len(text)
	}
	if i < len(text) && text[i] == '\r' {
		i++
	}
	if i < len(text) && text[i] == '\n' {
		i++
	}
	st.Data = i
	return st, nil
}
