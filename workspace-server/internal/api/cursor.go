package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// encodeCursor makes an opaque text of a cursor and the scope that it is valid in.
// The zero cursor is the empty text.
func encodeCursor(c workspace.Cursor, scope string) string {
	if c == (workspace.Cursor{}) {
		return ""
	}
	plain := strconv.FormatInt(c.Created, 10) + " " + c.ID
	if scope != "" {
		plain += " " + scope
	}
	return base64.RawURLEncoding.EncodeToString([]byte(plain))
}

// decodeCursor fails with Invalid on a text that encodeCursor did not make, or made
// for another scope.
func decodeCursor(text, scope string) (workspace.Cursor, error) {
	if text == "" {
		return workspace.Cursor{}, nil
	}
	plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
	created, rest, found := strings.Cut(string(plain), " ")
	id, made, _ := strings.Cut(rest, " ")
	ms, numErr := strconv.ParseInt(created, 10, 64)
	c := workspace.Cursor{Created: ms, ID: id}
	if err != nil || !found || numErr != nil || !workspace.IsID(id) && !token.IsID(id) || encodeCursor(c, made) != text {
		return workspace.Cursor{}, workspace.Errorf(workspace.Invalid,
			`The parameter "cursor" must be the value of "next" in an answer, unchanged.`)
	}
	if made != scope {
		return workspace.Cursor{}, workspace.Errorf(workspace.Invalid,
			`The parameter "cursor" is from a list with other filters. Repeat those filters, or start without a cursor.`)
	}
	return c, nil
}
