// A stock Kairos peer for the tests: Kairos' own go-nodepair and edgevpn, unmodified, behind a
// program that tests can drive. It reads one JSON request from standard input and writes one JSON
// object a line to standard output. When standard input ends, so does the program.
//
//	peer token [-interval SECONDS]           a network token, as `kairosctl` and nodes make it
//	peer receive [-bootstrap ADDRESS]        what a booted node does
//	peer send [-bootstrap ADDRESS]           what `kairosctl register` does; -photo FILE reads the token
//	peer picture -photo FILE                 the token as the QR code that a node shows
//	peer network [-mdns=false] [-bootstrap]  a member of a running network, with what its ledger holds
//	peer dht -listen ADDRESS                 a server for the others' -bootstrap
//
// Tokens and payloads come in over standard input only: arguments are seen by every user.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	nodepair "github.com/kairos-io/go-nodepair"
	"github.com/kairos-io/go-nodepair/qrcode"
	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/multiformats/go-multiaddr"
	qr "github.com/skip2/go-qrcode"

	golog "github.com/ipfs/go-log"
	"github.com/mudler/edgevpn/pkg/blockchain"
	"github.com/mudler/edgevpn/pkg/config"
	"github.com/mudler/edgevpn/pkg/logger"
	"github.com/mudler/edgevpn/pkg/node"
	"github.com/mudler/edgevpn/pkg/services"
)

// Request is what a test says. A running network reads further ones: more for its ledger.
type Request struct {
	Token   string                    `json:"token"`
	Payload map[string]string         `json:"payload"`
	Ledger  map[string]map[string]any `json:"ledger"`
}

// Answer is what it hears. Seconds count from the start of the program.
type Answer struct {
	Event   string                                `json:"event"`
	Seconds float64                               `json:"seconds"`
	ID      string                                `json:"id,omitempty"`
	Token   string                                `json:"token,omitempty"`
	Payload map[string]string                     `json:"payload,omitempty"`
	Address string                                `json:"address,omitempty"`
	Ledger  map[string]map[string]blockchain.Data `json:"ledger,omitempty"`
	Error   string                                `json:"error,omitempty"`
}

var (
	started   = time.Now()
	answers   = json.NewEncoder(os.Stdout)
	interval  = flag.Int("interval", int(^uint(0)>>1), "seconds until a token's names change")
	bootstrap = flag.String("bootstrap", "", "the only bootstrap peer, instead of the public ones")
	listen    = flag.String("listen", "", "where the dht server listens")
	photo     = flag.String("photo", "", "an image file with the token's QR code")
	mdns      = flag.Bool("mdns", true, "find members of the network on this LAN")
)

func main() {
	// nodepair prints its progress, and the ledger with the config in it, to standard output.
	os.Stdout = os.Stderr
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stdout = null
	}
	if len(os.Args) < 2 {
		fail(fmt.Errorf("no command"))
	}
	flag.CommandLine.Parse(os.Args[2:])
	commands := map[string]func(context.Context, *Reader) (Answer, error){
		"token": token, "receive": receive, "send": send, "network": network, "dht": server,
		"picture": picture,
	}
	command, known := commands[os.Args[1]]
	if !known {
		fail(fmt.Errorf("unknown command %q", os.Args[1]))
	}
	if *bootstrap != "" {
		address, err := multiaddr.NewMultiaddr(*bootstrap)
		if err != nil {
			fail(err)
		}
		dht.DefaultBootstrapPeers = []multiaddr.Multiaddr{address}
	}
	ctx, cancel := context.WithCancel(context.Background())
	answer, err := command(ctx, newReader(cancel))
	if err != nil {
		fail(err)
	}
	say(answer)
}

func token(context.Context, *Reader) (Answer, error) {
	made := node.GenerateNewConnectionData(*interval)
	return Answer{Event: "token", Token: made.Base64()}, nil
}

func receive(ctx context.Context, from *Reader) (Answer, error) {
	asked, err := from.next()
	if err != nil {
		return Answer{}, err
	}
	say(Answer{Event: "started"})
	payload := map[string]string{}
	err = nodepair.Receive(ctx, &payload, nodepair.WithToken(asked.Token))
	return Answer{Event: "received", Payload: payload}, ended(ctx, err)
}

func send(ctx context.Context, from *Reader) (Answer, error) {
	asked, err := from.next()
	if err != nil {
		return Answer{}, err
	}
	options := []nodepair.PairOption{nodepair.WithToken(asked.Token)}
	if *photo != "" {
		options = []nodepair.PairOption{nodepair.WithReader(qrcode.Reader), nodepair.WithToken(*photo)}
	}
	say(Answer{Event: "started"})
	err = nodepair.Send(ctx, asked.Payload, options...)
	return Answer{Event: "sent"}, ended(ctx, err)
}

func picture(_ context.Context, from *Reader) (Answer, error) {
	asked, err := from.next()
	if err != nil {
		return Answer{}, err
	}
	// Six pixels a module, with the level that nodepair's Print takes.
	return Answer{Event: "picture"}, qr.WriteFile(asked.Token, qr.Medium, -6, *photo)
}

// network is a node as `edgevpn` starts it, without its network interface: presence, the ledger,
// and what was asked for in it, announced for as long as it runs.
func network(ctx context.Context, from *Reader) (Answer, error) {
	asked, err := from.next()
	if err != nil {
		return Answer{}, err
	}
	often := 2 * time.Second
	options, _, err := config.Config{
		NetworkToken: asked.Token,
		LogLevel:     "fatal", Libp2pLogLevel: "fatal",
		Ledger:     config.Ledger{SyncInterval: often, AnnounceInterval: often},
		Discovery:  config.Discovery{DHT: *bootstrap != "", MDNS: *mdns, Interval: 10 * time.Second},
		Connection: config.Connection{MaxConnections: 100},
	}.ToOpts(logger.New(golog.LevelFatal))
	if err != nil {
		return Answer{}, err
	}
	options = append(options, services.Alive(often, 900*time.Second, 15*time.Minute)...)
	member, err := node.New(options...)
	if err != nil {
		return Answer{}, err
	}
	if err := member.Start(ctx); err != nil {
		return Answer{}, err
	}
	ledger, err := member.Ledger()
	if err != nil {
		return Answer{}, err
	}
	say(Answer{Event: "started", ID: member.Host().ID().String()})
	go func() {
		for ; err == nil; asked, err = from.next() {
			for bucket, entries := range asked.Ledger {
				for key, value := range entries {
					ledger.Persist(ctx, often, time.Hour, bucket, key, value)
				}
			}
		}
	}()
	report(ctx, ledger)
	return Answer{Event: "ended"}, nil
}

// report says what the ledger holds, whenever that has changed.
func report(ctx context.Context, ledger *blockchain.Ledger) {
	var said map[string]map[string]blockchain.Data
	for ctx.Err() == nil {
		// Every member's time of day: it would change the ledger all the time.
		now := ledger.CurrentData()
		delete(now, "healthcheck")
		if !reflect.DeepEqual(now, said) {
			said = now
			say(Answer{Event: "ledger", Ledger: now})
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func server(ctx context.Context, _ *Reader) (Answer, error) {
	host, err := libp2p.New(libp2p.ListenAddrStrings(*listen))
	if err != nil {
		return Answer{}, err
	}
	if _, err := dht.New(ctx, host, dht.Mode(dht.ModeServer), dht.BootstrapPeers()); err != nil {
		return Answer{}, err
	}
	address := fmt.Sprintf("%s/p2p/%s", *listen, host.ID())
	say(Answer{Event: "started", ID: host.ID().String(), Address: address})
	<-ctx.Done()
	return Answer{Event: "ended"}, nil
}

// Reader gives the requests on standard input, one by one.
type Reader struct{ requests chan Request }

func newReader(end func()) *Reader {
	reader := &Reader{make(chan Request)}
	go func() {
		defer close(reader.requests)
		defer end()
		for lines := json.NewDecoder(bufio.NewReader(os.Stdin)); ; {
			var asked Request
			if err := lines.Decode(&asked); err != nil {
				if err != io.EOF {
					fail(err)
				}
				return
			}
			reader.requests <- asked
		}
	}()
	return reader
}

func (r *Reader) next() (Request, error) {
	asked, open := <-r.requests
	if !open {
		return asked, io.EOF
	}
	return asked, nil
}

// ended: nodepair returns without an error when its context is cancelled.
func ended(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	return err
}

func say(answer Answer) {
	answer.Seconds = time.Since(started).Seconds()
	answers.Encode(answer)
}

func fail(err error) {
	say(Answer{Event: "failed", Error: err.Error()})
	os.Exit(1)
}
