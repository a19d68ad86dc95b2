package hnv

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// script is the text of a script with the beginnings of its lines.
type script struct {
	name  string
	text  []rune
	lines []int
}

// newScript decodes data: UTF-8 with or without a byte order mark, or UTF-16 with
// one, which is what the editors of Windows write.
func newScript(name string, data []byte) (*script, error) {
	s := &script{name: name, lines: []int{0}}
	switch {
	case len(data) >= 2 && data[0] == 0xff && data[1] == 0xfe:
		s.text = decode16(data[2:], binary.LittleEndian)
	case len(data) >= 2 && data[0] == 0xfe && data[1] == 0xff:
		s.text = decode16(data[2:], binary.BigEndian)
	default:
		if len(data) >= 3 && string(data[:3]) == "\ufeff" {
			data = data[3:]
		}
		if !utf8.Valid(data) {
			// An old editor wrote it in the code page of its country. In all of
			// them ASCII is ASCII, and the quotes and dashes are those of 1252.
			s.text = decode1252(data)
			break
		}
		s.text = []rune(string(data))
	}
	if slices.Contains(s.text, 0) {
		return nil, fmt.Errorf("%s: has zero octets: want a PowerShell script as text", name)
	}
	for i, r := range s.text {
		if r == '\n' || r == '\r' && (i+1 == len(s.text) || s.text[i+1] != '\n') {
			s.lines = append(s.lines, i+1)
		}
	}
	return s, nil
}

func decode16(data []byte, order binary.ByteOrder) []rune {
	u := make([]uint16, len(data)/2)
	for i := range u {
		u[i] = order.Uint16(data[2*i:])
	}
	return utf16.Decode(u)
}

func decode1252(data []byte) []rune {
	out := make([]rune, len(data))
	for i, b := range data {
		switch b {
		case 0x91, 0x92:
			out[i] = '\''
		case 0x93, 0x94:
			out[i] = '"'
		case 0x96, 0x97:
			out[i] = '-'
		default:
			out[i] = rune(b)
		}
	}
	return out
}

// position returns the place of the rune at offset.
func (s *script) position(offset int) tenant.Position {
	line := sort.SearchInts(s.lines, offset+1) // the first line that begins behind it
	return tenant.Position{File: s.name, Line: line, Column: offset - s.lines[line-1] + 1}
}

// What PowerShell takes for a dash, a quote and white space, whatever a word
// processor or a web page has made of it.

func isDash(r rune) bool { return r == '-' || r == '–' || r == '—' || r == '―' }

func isSingle(r rune) bool { return r == '\'' || r >= '‘' && r <= '‛' }

func isDouble(r rune) bool { return r == '"' || r >= '“' && r <= '„' }

func isNewline(r rune) bool { return r == '\n' || r == '\r' }

func isSpace(r rune) bool {
	return r == ' ' || r == '\t' || r == '\f' || r == '\v' || r == '\u00a0' || r == '\u0085' || r == '\ufeff' ||
		r >= '\u2000' && r <= '\u200b' || r == '\u3000'
}
