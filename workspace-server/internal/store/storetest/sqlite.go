//go:build !nosqlite

package storetest

const hasSQLite = true
