module tools

go 1.26.0

require e2e v0.0.0

require (
	github.com/BurntSushi/toml v1.6.0 // indirect
	github.com/google/go-dap v0.12.0 // indirect
)

replace e2e => ../e2e
