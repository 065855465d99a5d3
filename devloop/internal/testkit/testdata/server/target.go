package main

// debugged is where the tests stop.
func debugged(name string) string {
	greeting := "hello " + name
	return greeting // here
}
