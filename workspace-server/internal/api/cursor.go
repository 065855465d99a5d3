package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"workspace-server/internal/workspace"
)

// encodeCursor makes a cursor opaque. The zero cursor is the empty text.
func encodeCursor(c workspace.Cursor) string {
	if c == (workspace.Cursor{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.Created, 10) + " " + c.ID))
}

// decodeCursor fails with Invalid on what encodeCursor did not make.
func decodeCursor(text string) (workspace.Cursor, error) {
	if text == "" {
		return workspace.Cursor{}, nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	created, id, found := strings.Cut(string(plain), " ")
	ms, numErr := strconv.ParseInt(created, 10, 64)
	c := workspace.Cursor{Created: ms, ID: id}
	if err != nil || !found || numErr != nil || !workspace.IsID(id) || encodeCursor(c) != text {
		return workspace.Cursor{}, workspace.Errorf(workspace.Invalid,
			`The parameter "cursor" has to be what "next" was in an answer, unchanged.`)
	}
	return c, nil
}
