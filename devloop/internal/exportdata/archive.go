package exportdata

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A span is a part of an archive, in bytes.
type span struct{ begin, end int }

const (
	archiveMagic = "!<arch>\n"
	memberHeader = 60 // name 16, time 12, owner 6, group 6, mode 8, size 10, end 2
)

// member finds a file in an archive (cmd/internal/archive).
func member(archive []byte, name string) (span, error) {
	if !bytes.HasPrefix(archive, []byte(archiveMagic)) {
		return span{}, errors.New("it is no archive")
	}
	for at := len(archiveMagic); at < len(archive); {
		if len(archive)-at < memberHeader {
			return span{}, errors.New("the archive is cut short")
		}
		header := archive[at : at+memberHeader]
		size, err := strconv.Atoi(string(bytes.TrimSpace(header[48:58])))
		begin := at + memberHeader
		if err != nil || size < 0 || size > len(archive)-begin {
			return span{}, errors.New("the archive has a file of no size")
		}
		if string(bytes.TrimRight(header[:16], " ")) == name {
			return span{begin, begin + size}, nil
		}
		at = begin + size + size%2
	}
	return span{}, fmt.Errorf("the archive has no %s", name)
}
