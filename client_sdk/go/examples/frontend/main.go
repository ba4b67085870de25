// A small front-end of pixied: one client on one link. It prints what the client receives and confirms it, publishes each
// line of its input, which has to be JSON, and comes back when the link breaks. The end of its input ends it.
//
//	go run ./examples/frontend --address 127.0.0.1:50051 --subscribe '/chat/**' --publish /chat/room
//
// It makes a client and destroys it in the end, unless PIXIED_CLIENT names one: an id is a secret, and no argument.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"io"
	"log"
	random "math/rand/v2"
	"os"
	"sync"
	"time"

	pixied "github.com/pixied/pixied/client_sdk/go/pixied/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

type (
	attach = pixied.AttachCommand_Attach
	detach = pixied.AttachCommand_Detach
	hello  = pixied.AttachCommand_Hello
	ack    = pixied.AttachCommand_Ack
	beat   = pixied.AttachCommand_Heartbeat
)

func main() {
	address := flag.String("address", "127.0.0.1:50051", "where pixied listens")
	subscribe := flag.String("subscribe", "/chat/**", "the channel or pattern to subscribe to")
	publish := flag.String("publish", "/chat/room", "the channel to publish to")
	flag.Parse()
	connection, err := grpc.NewClient(*address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	if err := run(pixied.NewBackendServiceClient(connection), *subscribe, *publish); err != nil {
		log.Fatal(err)
	}
}

func run(backend pixied.BackendServiceClient, subscribe, publish string) error {
	ctx := context.Background()
	id := os.Getenv("PIXIED_CLIENT")
	if id == "" {
		created, err := backend.CreateClient(ctx, &pixied.CreateClientRequest{})
		if err != nil {
			return err
		}
		id = created.Client.ClientId
		defer backend.DestroyClient(ctx, &pixied.DestroyClientRequest{ClientId: id})
	}
	if _, err := backend.Subscribe(ctx, &pixied.SubscribeRequest{ClientId: id, Channels: []string{subscribe}}); err != nil {
		return err
	}
	leaving, leave := context.WithCancel(ctx)
	go func() {
		defer leave()
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			publishOne(backend, &pixied.Message{Channel: publish, Data: lines.Text(), IdempotencyKey: rand.Text()})
		}
	}()
	return keepLink(backend, id, leaving)
}

// publishOne publishes a message, and again while pixied is away: with its key it takes effect once.
func publishOne(backend pixied.BackendServiceClient, message *pixied.Message) {
	request := &pixied.PublishRequest{Messages: []*pixied.Message{message}}
	_, err := backend.Publish(context.Background(), request)
	for failures := 0; status.Code(err) == codes.Unavailable; failures++ {
		time.Sleep(backoff(failures))
		_, err = backend.Publish(context.Background(), request)
	}
	if err != nil {
		log.Print("not published: ", err)
	}
}

// keepLink opens the link again whenever it breaks, until the front-end leaves or the client is gone.
func keepLink(backend pixied.BackendServiceClient, id string, leaving context.Context) error {
	for failures := 0; leaving.Err() == nil; failures++ {
		opened, link := time.Now(), &link{id: id, leaving: leaving, silence: 30 * time.Second}
		err := link.carry(backend)
		if code := status.Code(err); err != io.EOF && code != codes.Unavailable && code != codes.Canceled {
			return err
		}
		if log.Print("no link: ", err); time.Since(opened) > time.Minute {
			failures = 0
		}
		select {
		case <-time.After(max(link.pause, backoff(failures))):
		case <-leaving.Done():
		}
	}
	return nil
}

// backoff gives a random pause, of up to 6.4 s after several failures.
func backoff(failures int) time.Duration {
	return time.Duration(random.Int64N(int64(100*time.Millisecond) << min(failures, 6)))
}

// link is one Attach stream. Its client has handle 0; a front-end of many counts on.
type link struct {
	id      string
	leaving context.Context
	silence time.Duration // how long pixied may be silent; `welcome` names it
	pause   time.Duration // how long pixied asked to stay away
	left    bool          // the client was detached because this side asked

	sending sync.Mutex
	stream  grpc.BidiStreamingClient[pixied.AttachRequest, pixied.AttachResponse]
	ended   bool
}

// carry serves the stream to its end, and gives why it ended; nil if the front-end left.
func (l *link) carry(backend pixied.BackendServiceClient) (err error) {
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	if l.stream, err = backend.Attach(ctx); err != nil {
		return err
	}
	watchdog := time.AfterFunc(l.silence, cut)
	defer watchdog.Stop()
	l.send(false, &pixied.AttachCommand{Command: &hello{Hello: &pixied.Hello{FrontEnd: "go-example"}}})
	for {
		frame, err := l.stream.Recv()
		if err == io.EOF && l.left {
			return nil
		}
		if err == nil {
			err = l.take(frame.Events)
		}
		if err != nil {
			return err
		}
		watchdog.Reset(l.silence)
	}
}

// take deals with a frame, and answers all of it in one: frames are what costs.
func (l *link) take(events []*pixied.AttachEvent) error {
	var answers []*pixied.AttachCommand
	var received uint64
	ending := false
	for _, event := range events {
		switch event := event.Event.(type) {
		case *pixied.AttachEvent_Welcome:
			l.silence = event.Welcome.SilenceLimit.AsDuration()
			answers = append(answers, &pixied.AttachCommand{Command: &attach{Attach: &pixied.AttachClient{ClientId: l.id}}})
		case *pixied.AttachEvent_Attached:
			context.AfterFunc(l.leaving, func() {
				l.send(false, &pixied.AttachCommand{Command: &detach{Detach: &pixied.DetachClient{}}})
			})
		case *pixied.AttachEvent_AttachFailed:
			return status.FromProto(event.AttachFailed.Error).Err()
		case *pixied.AttachEvent_Delivery:
			if l.leaving.Err() != nil {
				continue // it stays with pixied
			}
			for _, batch := range event.Delivery.Batches {
				for _, message := range batch.Messages {
					fmt.Println(message.Channel, message.Data)
				}
			}
			received = event.Delivery.Number
		case *pixied.AttachEvent_Gap:
			log.Printf("%d messages of %s were lost", event.Gap.Gap.Lost, event.Gap.Gap.Channel)
		case *pixied.AttachEvent_Heartbeat:
			answers = append(answers, &pixied.AttachCommand{Command: &beat{Heartbeat: &pixied.Heartbeat{}}})
		case *pixied.AttachEvent_Detached:
			if event.Detached.Reason != pixied.DetachReason_DETACH_REASON_REQUESTED {
				return fmt.Errorf("detached: %s %s", event.Detached.Reason, event.Detached.Detail)
			}
			l.left, ending = true, true
		case *pixied.AttachEvent_Closing:
			l.pause, ending = time.Duration(event.Closing.ReconnectAfterMs)*time.Millisecond, true
		}
	}
	if received > 0 { // the number of the last delivery confirms them all
		answers = append(answers, &pixied.AttachCommand{Command: &ack{Ack: &pixied.Ack{Number: received}}})
	}
	l.send(ending, answers...)
	return nil
}

// send sends commands in one frame, and ends the stream after it if that is asked. Why it failed, receiving tells.
func (l *link) send(end bool, commands ...*pixied.AttachCommand) {
	l.sending.Lock()
	defer l.sending.Unlock()
	if len(commands) > 0 && !l.ended {
		l.stream.Send(&pixied.AttachRequest{Commands: commands})
	}
	if end && !l.ended {
		l.ended = true
		l.stream.CloseSend()
	}
}
