// Tells histories, whose format is in spec/vectors.md, to a broker: go run reader.go HOST:PORT < tiny.jsonl
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand"
	"net"
	"os"
	"time"
)

type part struct {
	Hex, Hole          string
	Bytes, Sized, Most int
	Ago                *int64
	Now                int64
	Crc, Begins        []part
	Order              [][]part
	Rest               bool
}

type history struct {
	Id    string
	Steps []struct {
		On, Sleep        int
		Send             []part
		Answers          [][]part
		End, Shut, Again bool
	}
	known map[string][]byte // what the holes stand for
	begun int64
	conns map[int]net.Conn
}

var be = binary.BigEndian

func crc(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// filled is what the parts are, every hole filled.
func (h *history) filled(parts []part) (out []byte) {
	for _, p := range parts {
		data, _ := hex.DecodeString(p.Hex)
		if p.Crc != nil {
			data = h.filled(p.Crc)
			out = be.AppendUint32(out, crc(data))
		} else if p.Ago != nil {
			data = be.AppendUint64(nil, uint64(h.begun-*p.Ago))
		}
		out = append(append(out, data...), h.known[p.Hole]...)
	}
	return
}

// fit takes the parts from the front of b; what is left. Where b is too short, a slice panics: it does not fit.
func (h *history) fit(parts []part, b []byte) (left []byte, ok bool) {
	before := map[string][]byte{}
	for name, value := range h.known {
		before[name] = value
	}
	defer func() {
		if recover() != nil || !ok {
			h.known, ok = before, false
		}
	}()
	for _, p := range parts {
		n, fits := p.Bytes, true
		switch {
		case p.Order != nil:
			left, fits = h.inAnyOrder(p.Order, b)
			n = len(b) - len(left)
		case p.Sized > 0:
			size := 0
			switch p.Sized {
			case 1: // a varint, of one more
				more, k := binary.Uvarint(b)
				n, size = k, int(more)-1
			case 2:
				n, size = 2, int(int16(be.Uint16(b)))
			case 4:
				n, size = 4, int(int32(be.Uint32(b)))
			}
			_, fits = h.fit(p.Begins, b[n:n+size])
			fits = fits && (p.Most == 0 || size <= p.Most)
			n += size
		case p.Crc != nil:
			left, fits = h.fit(p.Crc, b[4:])
			n = len(b) - len(left)
			fits = fits && crc(b[4:n]) == be.Uint32(b)
		case p.Now > 0:
			n = 8
			past := h.begun - int64(be.Uint64(b))
			fits = past <= p.Now && -past <= p.Now
		case p.Rest:
			n = len(b)
		case p.Bytes > 0 && p.Hole == "":
		case p.Bytes > 0 && h.known[p.Hole] == nil:
			h.known[p.Hole] = b[:n]
		default:
			want := h.filled([]part{p})
			n, fits = len(want), bytes.HasPrefix(b, want)
		}
		if b = b[n:]; !fits {
			return nil, false
		}
	}
	return b, true
}

func (h *history) inAnyOrder(order [][]part, b []byte) ([]byte, bool) {
	for i, one := range order {
		if left, ok := h.fit(one, b); ok {
			return h.inAnyOrder(append(append([][]part{}, order[:i]...), order[i+1:]...), left)
		}
	}
	return b, len(order) == 0
}

// take does a step; what is wrong, if something is.
func (h *history) take(number int) error {
	s := h.Steps[number]
	time.Sleep(time.Duration(s.Sleep) * time.Millisecond)
	if s.Send == nil && s.Answers == nil && !s.End && !s.Shut {
		return nil
	}
	conn := h.conns[s.On]
	if conn == nil {
		var err error
		if conn, err = net.Dial("tcp", os.Args[1]); err != nil {
			return err
		}
		h.conns[s.On] = conn
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	conn.Write(h.filled(s.Send))
	if s.Shut {
		conn.(*net.TCPConn).CloseWrite()
	}
	if s.Answers == nil && !s.End {
		return nil
	}
	head := make([]byte, 4)
	_, err := io.ReadFull(conn, head)
	if s.End || err != nil {
		delete(h.conns, s.On)
		if s.End && err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		return fmt.Errorf("%x, %v", head, err)
	}
	answer := make([]byte, be.Uint32(head))
	io.ReadFull(conn, answer)
	for _, one := range s.Answers {
		if left, ok := h.fit(one, answer); ok && len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%x", answer)
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	told, failed := 0, 0
	for ; lines.Scan(); told++ {
		h := history{begun: time.Now().UnixMilli(), conns: map[int]net.Conn{}}
		h.known = map[string][]byte{"run": fmt.Appendf(nil, "%08x", rand.Uint32())}
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			panic(err)
		}
		for number := range h.Steps {
			err := h.take(number)
			for end := time.Now().Add(5 * time.Second); err != nil && h.Steps[number].Again && time.Now().Before(end); err = h.take(number) {
				time.Sleep(20 * time.Millisecond)
			}
			if err != nil {
				fmt.Printf("%s, step %d: %v\n", h.Id, number+1, err)
				failed++
				break
			}
		}
		for _, conn := range h.conns {
			conn.Close()
		}
	}
	fmt.Printf("%d histories, %d failed\n", told, failed)
	if failed > 0 || told == 0 {
		os.Exit(1)
	}
}
