package api

import (
	"encoding/base64"
	"strconv"
	"strings"

	"workspace-server/internal/token"
	"workspace-server/internal/workspace"
)

// encodeCursor makes a cursor opaque, with the scope that it is good in. The
// zero cursor is the empty text.
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

// decodeCursor fails with Invalid on what encodeCursor did not make, or made
// in another scope.
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
			`The parameter "cursor" has to be what "next" was in an answer, unchanged.`)
	}
	if made != scope {
		return workspace.Cursor{}, workspace.Errorf(workspace.Invalid,
			`The parameter "cursor" is from a list with other filters. Repeat those, or start without a cursor.`)
	}
	return c, nil
}
