// A stock Kairos machine in recovery mode for the tests: a shell behind ssh, which listens on
// loopback and is offered as a service of the network whose token is in the code on its screen.
// What it uses, and the intervals, are those of Kairos; its shell can only be reached in a test's
// network namespace.
//
// It reads one JSON request from standard input and writes one JSON object a line to standard
// output. When standard input ends, so does the program.
package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"github.com/creack/pty"
	"github.com/gliderlabs/ssh"
	golog "github.com/ipfs/go-log"
	"github.com/mudler/edgevpn/pkg/config"
	"github.com/mudler/edgevpn/pkg/logger"
	"github.com/mudler/edgevpn/pkg/node"
	"github.com/mudler/edgevpn/pkg/services"
)

// Request is what a test says.
type Request struct {
	Token    string `json:"token"`
	Service  string `json:"service"`
	Password string `json:"password"`
}

func main() {
	var asked Request
	requests := json.NewDecoder(os.Stdin)
	if err := requests.Decode(&asked); err != nil {
		fail(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	id, err := offer(ctx, asked, listening.Addr().String())
	if err != nil {
		fail(err)
	}
	say(map[string]string{"event": "started", "id": id})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
		listening.Close()
	}()
	ssh.Serve(listening, shell, ssh.PasswordAuth(func(_ ssh.Context, given string) bool {
		say(map[string]string{"event": "tried"})
		return given == asked.Password
	}))
	say(map[string]string{"event": "ended"})
}

// offer takes part in the network and announces the service; returns the machine's peer id.
func offer(ctx context.Context, asked Request, address string) (string, error) {
	logs := logger.New(golog.LevelFatal)
	options, _, err := config.Config{
		NetworkToken: asked.Token,
		LogLevel:     "fatal", Libp2pLogLevel: "fatal",
		Ledger:     config.Ledger{SyncInterval: 10 * time.Second, AnnounceInterval: 10 * time.Second},
		Discovery:  config.Discovery{MDNS: true, Interval: 10 * time.Second},
		Connection: config.Connection{MaxConnections: 100},
	}.ToOpts(logs)
	if err != nil {
		return "", err
	}
	options = append(options, services.Alive(20*time.Second, 10*time.Second, 10*time.Second)...)
	options = append(options, services.RegisterService(logs, 5*time.Second, asked.Service, address)...)
	machine, err := node.New(options...)
	if err != nil {
		return "", err
	}
	if err := machine.Start(ctx); err != nil {
		return "", err
	}
	return machine.Host().ID().String(), nil
}

func shell(session ssh.Session) {
	asked, sizes, wanted := session.Pty()
	if !wanted {
		io.WriteString(session, "No PTY requested.\n")
		session.Exit(1)
		return
	}
	command := exec.Command("/bin/bash", "--norc")
	command.Env = []string{"TERM=" + asked.Term, "PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	terminal, err := pty.Start(command)
	if err != nil {
		session.Exit(1)
		return
	}
	go func() {
		for size := range sizes {
			pty.Setsize(terminal, &pty.Winsize{Rows: uint16(size.Height), Cols: uint16(size.Width)})
		}
	}()
	go io.Copy(terminal, session)
	io.Copy(session, terminal)
	command.Wait()
	session.Exit(command.ProcessState.ExitCode())
}

func say(answer map[string]string) {
	json.NewEncoder(os.Stdout).Encode(answer)
}

func fail(err error) {
	say(map[string]string{"event": "failed", "error": err.Error()})
	os.Exit(1)
}
