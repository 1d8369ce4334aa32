package lsp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// The bounds of one message.
const (
	maxHeader  = 4 << 10
	maxMessage = 8 << 20
)

// readFrame reads the next message: headers, an empty line, as many bytes as
// Content-Length says. io.EOF is the end between two messages.
func readFrame(r *bufio.Reader) ([]byte, error) {
	length, read := -1, 0
	for {
		line, err := readLine(r, maxHeader-read)
		if err != nil {
			if errors.Is(err, io.EOF) && (read > 0 || line != "") {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		read += len(line) + 2
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("read message: header %q has no colon", line)
		}
		if strings.EqualFold(name, "Content-Length") {
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 0 || n > maxMessage {
				return nil, fmt.Errorf("read message: Content-Length %s is not between 0 and %d", strings.TrimSpace(value), maxMessage)
			}
			length = n
		}
	}
	if length < 0 {
		return nil, errors.New("read message: it has no Content-Length")
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, fmt.Errorf("read message: %w", io.ErrUnexpectedEOF)
	}
	return body, nil
}

// readLine reads up to the next line feed, at most limit bytes.
func readLine(r *bufio.Reader, limit int) (string, error) {
	var b strings.Builder
	for b.Len() <= limit {
		c, err := r.ReadByte()
		if err != nil {
			return b.String(), err
		}
		if c == '\n' {
			return strings.TrimSuffix(b.String(), "\r"), nil
		}
		b.WriteByte(c)
	}
	return "", fmt.Errorf("read message: headers are longer than %d bytes", maxHeader)
}

func writeFrame(w io.Writer, body []byte) error {
	if _, err := fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", len(body)); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}
