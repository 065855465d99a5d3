module devloop

go 1.26
