package a2a

import "testing"

func TestGuard(t *testing.T) {
	public := []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
		"169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
		"198.17.255.255", "198.20.0.0", "223.255.255.255",
		"2606:4700::1111", "2a00:1450:4001:80b::200e", "2001:4860:4860::8888", "3ffe::1",
		"::ffff:1.1.1.1", "64:ff9b::1.1.1.1",
	}
	private := []string{
		"10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0", "192.168.255.255",
		"127.0.0.1", "127.255.255.255", "100.64.0.0", "100.127.255.255",
		"192.0.0.1", "192.0.2.1", "192.88.99.1", "198.18.0.0", "198.19.255.255", "198.51.100.1", "203.0.113.1", "240.0.0.1",
		"::1", "fc00::1", "fdff::1", "100::1", "2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "5f00::1", "4000::1",
		"::127.0.0.1", "::1.1.1.1", // compatible
		"::ffff:0:127.0.0.1",              // translated
		"64:ff9b:1::127.0.0.1",            // NAT64 of the local kind
		"2002:7f00:1::", "2002:101:101::", // 6to4
		"2001:0:7f00:1::", "2001:0:101:101::", // Teredo
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:192.168.1.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1",
	}
	never := []string{
		"0.0.0.0", "0.1.2.3", "169.254.169.254", "169.254.0.1", "224.0.0.1", "239.255.255.255", "255.255.255.255",
		"100.100.100.200", "168.63.129.16", "192.0.0.192",
		"::", "fe80::1", "fe80::1%lo", "fec0::1", "ff02::1", "fd00:ec2::254", "fd20:ce::254", "2606:4700::1111%lo",
		"::ffff:169.254.169.254", "64:ff9b::169.254.169.254", "::ffff:0.0.0.0",
	}
	strict := newGuard(nil)
	wide := newGuard(prefixes("0.0.0.0/0", "::/0"))
	narrow := newGuard(prefixes("10.1.0.0/16", "fd12::/16"))
	check := func(name string, g guard, texts []string, want bool) {
		for _, text := range texts {
			if got := g.allows(addr(t, text)); got != want {
				t.Errorf("%s guard: allows(%s) = %t, want %t", name, text, got, want)
			}
		}
	}
	check("strict", strict, public, true)
	check("strict", strict, private, false)
	check("strict", strict, never, false)
	check("wide", wide, public, true)
	check("wide", wide, private, true)
	check("wide", wide, never, false)
	check("narrow", narrow, private, false)
	check("narrow", narrow, []string{"10.1.0.1", "::ffff:10.1.255.255", "64:ff9b::10.1.0.1", "fd12::1"}, true)
	check("narrow", narrow, []string{"10.2.0.1", "::ffff:10.0.255.255", "fd13::1"}, false)

	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{"tcp4", "1.1.1.1:80", true},
		{"tcp6", "[2606:4700::1111]:443", true},
		{"tcp4", "127.0.0.1:80", false},
		{"tcp4", "1.1.1.1:0", false},
		{"udp4", "1.1.1.1:80", false},
		{"unix", "/var/run/docker.sock", false},
		{"tcp4", "example.com:80", false},
		{"tcp4", "", false},
	} {
		if err := strict.control(t.Context(), tt.network, tt.address, nil); (err == nil) != tt.want {
			t.Errorf("control(%s, %s) = %v, want it allowed: %t", tt.network, tt.address, err, tt.want)
		}
	}
}
