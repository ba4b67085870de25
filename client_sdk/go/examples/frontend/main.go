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
	for failures := 0; ; failures++ {
		opened, link := time.Now(), &link{id: id, silence: 30 * time.Second}
		err := link.carry(backend, leaving)
		code := status.Code(err)
		if leaving.Err() != nil {
			return nil
		} else if err != io.EOF && code != codes.Unavailable && code != codes.Canceled {
			return err
		} else if time.Since(opened) > time.Minute {
			failures = 0
		}
		log.Print("no link: ", err)
		select {
		case <-time.After(max(link.pause, backoff(failures))):
		case <-leaving.Done():
		}
	}
}

// backoff gives a random pause, of up to 6.4 s after several failures.
func backoff(failures int) time.Duration {
	return time.Duration(random.Int64N(int64(100*time.Millisecond) << min(failures, 6)))
}

// link is one Attach stream. Its client has handle 0; a front-end of many counts on.
type link struct {
	id      string
	silence time.Duration // how long pixied may be silent; `welcome` names it
	pause   time.Duration // how long pixied asked to stay away

	sending sync.Mutex // held while a frame is dealt with: it is printed and confirmed, or neither
	stream  grpc.BidiStreamingClient[pixied.AttachRequest, pixied.AttachResponse]
	ended   bool
}

// carry serves the stream to its end, and gives why it ended.
func (l *link) carry(backend pixied.BackendServiceClient, leaving context.Context) (err error) {
	ctx, cut := context.WithCancel(context.Background())
	defer cut()
	if l.stream, err = backend.Attach(ctx); err != nil {
		return err
	}
	watchdog := time.AfterFunc(l.silence, cut)
	defer watchdog.Stop()
	l.stream.Send(&pixied.AttachRequest{Commands: []*pixied.AttachCommand{
		{Command: &pixied.AttachCommand_Hello{Hello: &pixied.Hello{FrontEnd: "go-example"}}}}})
	defer context.AfterFunc(leaving, l.end)()
	for {
		frame, err := l.stream.Recv()
		if err == nil {
			err = l.take(frame.Events)
		}
		if err != nil {
			return err
		}
		watchdog.Reset(l.silence)
	}
}

// end ends this side of the stream: pixied ends the other, and gives the client up. What is not confirmed comes again.
func (l *link) end() {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.ended = true
	l.stream.CloseSend()
}

// take deals with a frame, and answers all of it in one, for frames are what costs. Why sending fails, receiving tells.
func (l *link) take(events []*pixied.AttachEvent) error {
	l.sending.Lock()
	defer l.sending.Unlock()
	if l.ended {
		return nil
	}
	var answers []*pixied.AttachCommand
	var received uint64
	for _, event := range events {
		switch event := event.Event.(type) {
		case *pixied.AttachEvent_Welcome:
			l.silence = event.Welcome.SilenceLimit.AsDuration()
			attach := &pixied.AttachClient{ClientId: l.id, Handle: 0}
			answers = append(answers, &pixied.AttachCommand{Command: &pixied.AttachCommand_Attach{Attach: attach}})
		case *pixied.AttachEvent_AttachFailed:
			return status.FromProto(event.AttachFailed.Error).Err()
		case *pixied.AttachEvent_Delivery:
			for _, batch := range event.Delivery.Batches {
				for _, message := range batch.Messages {
					fmt.Println(message.Channel, message.Data)
				}
			}
			received = event.Delivery.Number
		case *pixied.AttachEvent_Gap:
			log.Printf("%d messages of %s were lost", event.Gap.Gap.Lost, event.Gap.Gap.Channel)
		case *pixied.AttachEvent_Heartbeat:
			answers = append(answers, &pixied.AttachCommand{Command: &pixied.AttachCommand_Heartbeat{Heartbeat: event.Heartbeat}})
		case *pixied.AttachEvent_Detached:
			return fmt.Errorf("detached: %s %s", event.Detached.Reason, event.Detached.Detail)
		case *pixied.AttachEvent_Closing:
			l.pause = time.Duration(event.Closing.ReconnectAfterMs) * time.Millisecond
			defer func() { l.ended = true; l.stream.CloseSend() }()
		}
	}
	if received > 0 { // the number of the last delivery confirms them all
		answers = append(answers, &pixied.AttachCommand{Command: &pixied.AttachCommand_Ack{Ack: &pixied.Ack{Number: received}}})
	}
	if len(answers) > 0 {
		l.stream.Send(&pixied.AttachRequest{Commands: answers})
	}
	return nil
}
