package io.github.pixied.example;

import static java.nio.charset.StandardCharsets.UTF_8;
import static java.util.concurrent.TimeUnit.MILLISECONDS;
import static java.util.concurrent.TimeUnit.NANOSECONDS;
import static java.util.concurrent.TimeUnit.SECONDS;

import com.google.protobuf.Duration;
import io.github.pixied.v1.*;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A small front-end of pixied: one client on one link. It prints what the client receives and confirms it, publishes each
 * line of its input, which has to be JSON, and comes back when the link breaks. The end of its input ends it.
 *
 * <p>It makes a client and destroys it in the end, unless PIXIED_CLIENT names one: an id is a secret, and no argument.
 */
public final class FrontEnd {
  /** What happens, in order: one thread deals with all of it, so a frame is printed and confirmed, or neither. */
  private sealed interface Event permits Frame, End, Leave {}

  private record Frame(List<AttachEvent> events) implements Event {}

  private record End(Status status) implements Event {}

  private record Leave() implements Event {}

  private static final PrintStream OUTPUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, UTF_8);

  private final BackendServiceGrpc.BackendServiceBlockingStub backend;
  private final BackendServiceGrpc.BackendServiceStub streams;
  private final BlockingQueue<Event> happened = new LinkedBlockingQueue<>();
  private boolean leaving;

  // Of the link, which is one Attach stream. Its client has handle 0; a front-end of many counts on.
  private ClientCallStreamObserver<AttachRequest> link;
  private boolean ended; // this side of it
  private Status failure; // why this front-end cut it, or null
  private long silence; // milliseconds that pixied may be silent; `welcome` names them
  private long pause; // milliseconds that pixied asked to stay away

  private FrontEnd(ManagedChannel channel) {
    backend = BackendServiceGrpc.newBlockingStub(channel);
    streams = BackendServiceGrpc.newStub(channel);
  }

  public static void main(String[] arguments) throws InterruptedException {
    Map<String, String> flags = new HashMap<>();
    for (int at = 0; at + 1 < arguments.length; at += 2) {
      flags.put(arguments[at], arguments[at + 1]);
    }
    ManagedChannel channel =
        Grpc.newChannelBuilder(flags.getOrDefault("--address", "127.0.0.1:50051"), InsecureChannelCredentials.create())
            .keepAliveTime(30, SECONDS).keepAliveTimeout(10, SECONDS).build();
    int exit = 0;
    try {
      new FrontEnd(channel).run(flags.getOrDefault("--subscribe", "/chat/**"), flags.getOrDefault("--publish", "/chat/room"));
    } catch (StatusException | StatusRuntimeException error) {
      System.err.println(error.getMessage());
      exit = 1;
    }
    channel.shutdownNow().awaitTermination(10, SECONDS);
    System.exit(exit);
  }

  private void run(String subscribe, String publish) throws StatusException, InterruptedException {
    String given = System.getenv().getOrDefault("PIXIED_CLIENT", "");
    String id = given.isEmpty() ? backend.createClient(CreateClientRequest.getDefaultInstance()).getClient().getClientId() : given;
    try {
      backend.subscribe(SubscribeRequest.newBuilder().setClientId(id).addChannels(subscribe).build());
      Thread input = new Thread(() -> publishLines(publish), "input");
      input.setDaemon(true);
      input.start();
      keepLink(id);
    } finally {
      if (given.isEmpty()) {
        destroy(id);
      }
    }
  }

  private void destroy(String id) {
    try {
      backend.destroyClient(DestroyClientRequest.newBuilder().setClientId(id).build());
    } catch (StatusRuntimeException error) {
      System.err.println("not destroyed, so it expires: " + error.getMessage());
    }
  }

  private void publishLines(String channel) {
    new BufferedReader(new InputStreamReader(System.in, UTF_8)).lines().forEach(line -> publish(
        Message.newBuilder().setChannel(channel).setData(line).setIdempotencyKey(UUID.randomUUID().toString()).build()));
    happened.add(new Leave());
  }

  /** Publish a message, and again while pixied is away: with its key it takes effect once. */
  private void publish(Message message) {
    for (int failures = 0; ; failures++) {
      try {
        backend.publish(PublishRequest.newBuilder().addMessages(message).build());
        return;
      } catch (StatusRuntimeException error) {
        if (error.getStatus().getCode() != Status.Code.UNAVAILABLE) {
          System.err.println("not published: " + error.getMessage());
          return;
        }
      }
      try {
        Thread.sleep(backoff(failures));
      } catch (InterruptedException nobodyInterrupts) {
        throw new AssertionError(nobodyInterrupts);
      }
    }
  }

  /** Open the link again whenever it breaks, until the front-end leaves or the client is gone. */
  private void keepLink(String id) throws StatusException, InterruptedException {
    for (int failures = 0; ; failures++) {
      long opened = System.nanoTime();
      Status why = serveLink(id);
      if (leaving) {
        return;
      }
      switch (why.getCode()) {
        case OK, UNAVAILABLE, CANCELLED -> System.err.println("no link: " + why);
        default -> throw why.asException();
      }
      if (System.nanoTime() - opened > SECONDS.toNanos(60)) {
        failures = 0;
      }
      // A stream that is over puts nothing there any more: what comes now is the end of the input.
      if (happened.poll(Math.max(pause, backoff(failures)), MILLISECONDS) != null) {
        return;
      }
    }
  }

  /** Return a random pause in milliseconds, of up to 6.4 s after several failures. */
  private static long backoff(int failures) {
    return ThreadLocalRandom.current().nextLong(100L << Math.min(failures, 6));
  }

  /** Serve one Attach stream to its end. Return why it ended. */
  private Status serveLink(String id) throws InterruptedException {
    ended = false;
    failure = null;
    silence = 30_000;
    pause = 0;
    link = (ClientCallStreamObserver<AttachRequest>) streams.attach(new StreamObserver<AttachResponse>() {
      @Override
      public void onNext(AttachResponse frame) {
        happened.add(new Frame(frame.getEventsList()));
      }

      @Override
      public void onError(Throwable error) {
        happened.add(new End(Status.fromThrowable(error)));
      }

      @Override
      public void onCompleted() {
        happened.add(new End(Status.OK));
      }
    });
    link.onNext(AttachRequest.newBuilder().addCommands(AttachCommand.newBuilder().setHello(Hello.newBuilder().setFrontEnd("java-example"))).build());
    while (true) {
      Event event = happened.poll(silence, MILLISECONDS);
      if (event == null) {
        cut(Status.UNAVAILABLE.withDescription("pixied is silent"));
      } else if (event instanceof End end) {
        return failure == null ? end.status() : failure;
      } else if (event instanceof Leave) {
        leaving = true;
        endLink();
      } else if (event instanceof Frame frame && !ended) {
        take(frame.events(), id);
      }
    }
  }

  /** End this side of the stream: pixied ends the other, and gives the client up. What is not confirmed comes again. */
  private void endLink() {
    if (!ended) {
      ended = true;
      link.onCompleted();
    }
  }

  /** Cut the stream, whose end comes all the same. */
  private void cut(Status why) {
    ended = true;
    failure = why;
    link.cancel(why.getDescription(), null);
  }

  /** Deal with a frame, and answer all of it in one, for frames are what costs. Why sending fails, the end tells. */
  private void take(List<AttachEvent> events, String id) {
    AttachRequest.Builder answer = AttachRequest.newBuilder();
    long received = 0;
    boolean closing = false;
    for (AttachEvent event : events) {
      switch (event.getEventCase()) {
        case WELCOME -> {
          Duration limit = event.getWelcome().getSilenceLimit();
          silence = SECONDS.toMillis(limit.getSeconds()) + NANOSECONDS.toMillis(limit.getNanos());
          answer.addCommandsBuilder().setAttach(AttachClient.newBuilder().setClientId(id).setHandle(0));
        }
        case ATTACH_FAILED -> {
          cut(StatusProto.toStatusException(event.getAttachFailed().getError()).getStatus());
          return;
        }
        case DELIVERY -> {
          event.getDelivery().getBatchesList().forEach(batch -> batch.getMessagesList().forEach(
              message -> OUTPUT.println(message.getChannel() + " " + message.getData())));
          received = event.getDelivery().getNumber();
        }
        case GAP -> System.err.println(event.getGap().getGap().getLost() + " messages of " + event.getGap().getGap().getChannel() + " were lost");
        case HEARTBEAT -> answer.addCommandsBuilder().setHeartbeat(event.getHeartbeat());
        case DETACHED -> {
          cut(Status.UNKNOWN.withDescription("detached: " + event.getDetached().getReason() + " " + event.getDetached().getDetail()));
          return;
        }
        case CLOSING -> {
          pause = event.getClosing().getReconnectAfterMs();
          closing = true;
        }
        default -> {}
      }
    }
    if (received != 0) { // the number of the last delivery confirms them all
      answer.addCommandsBuilder().setAck(Ack.newBuilder().setNumber(received));
    }
    if (answer.getCommandsCount() > 0) {
      link.onNext(answer.build());
    }
    if (closing) {
      endLink();
    }
  }
}
