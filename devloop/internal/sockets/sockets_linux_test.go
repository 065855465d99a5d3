package sockets

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestAwaited(t *testing.T) {
	const fdinfo = `pos:	0
flags:	02000002
mnt_id:	15
ino:	1057
tfd:        5 events: 80002019 data: 7f8e40b2f0c80001  pos:0 ino:1a2b sdev:8
tfd:        7 events: 80002019 data:                2  pos:0 ino:ff sdev:8
`
	if got, want := awaited(fdinfo), []Inode{0x1a2b, 0xff}; !reflect.DeepEqual(got, want) {
		t.Errorf("awaited(fdinfo) = %v, want %v", got, want)
	}
}

func TestRows(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0000000000000000 100 0 0 10 0
   2: B80D01200000000000000000FE000000:1F91 00000000000000000000000000000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 13 1 0000000000000000 100 0 0 10 0
   3: broken
`
	var got []row
	err := readRows(strings.NewReader(table), func(r row) bool {
		got = append(got, r)
		return true
	})
	want := []row{
		{netip.MustParseAddrPort("127.0.0.1:8080"), 0x0A, 4711},
		{netip.MustParseAddrPort("[::ffff:127.0.0.1]:80"), 0x0A, 12},
		{netip.MustParseAddrPort("[2001:db8::fe]:8081"), 0x01, 13},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("readRows(table) = %v, %v, want %v", got, err, want)
	}
}

// TestLook looks at this very process.
func TestLook(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		port := l.Addr().(*net.TCPAddr).AddrPort().Port()
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		inode, err := Of(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		accepted, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		v, err := Look(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		s, ok := v.ListensOn(port)
		if !ok || s.Inode != inode || !v.Awaits(inode) {
			t.Errorf("Look() = %+v, want it to await and listen on %d at port %d", v, inode, port)
		}
		if n := v.ConnectedTo(port); n != 1 {
			t.Errorf("ConnectedTo(%d) = %d, want 1, and not the client's", port, n)
		}
		if got, err := Listens(port); !got || err != nil {
			t.Errorf("Listens(%d) = %v, %v, want true", port, got, err)
		}
		client.Close() // one that the other side has closed counts as long as it is open
		if v, err = Look(os.Getpid()); err != nil || v.ConnectedTo(port) != 1 {
			t.Errorf("Look() = %+v, %v after the client has left, want 1 connection", v, err)
		}
		accepted.Close()
		l.Close()
		v, err = Look(os.Getpid())
		if _, ok := v.ListensOn(port); err != nil || ok || v.Awaits(inode) || v.ConnectedTo(port) != 0 {
			t.Errorf("Look() = %+v, %v, want nothing of port %d", v, err, port)
		}
		if got, err := Listens(port); got || err != nil {
			t.Errorf("Listens(%d) = %v, %v, want false", port, got, err)
		}
	}
	if v := (View{Listening: []Socket{{Inode: 1}, {Inode: 2}}}).Without(1); len(v.Listening) != 1 || v.Listening[0].Inode != 2 {
		t.Errorf("Without(1) = %+v, want only socket 2", v)
	}
	if v, err := Look(1 << 30); !errors.Is(err, ErrHidden) {
		t.Errorf("Look(no process) = %v, %v, want %v", v, err, ErrHidden)
	}
}
