package io.kleveross.openscoring;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * OpenScoring's interface over HTTP: the schema of a model by GET, its results by POST.
 *
 * <p>PUT and DELETE are not there: which model is served is said when the server starts.
 */
final class Service {

    private static final String ROOT = "/openscoring/model";
    /** A request is the values of one record. */
    private static final int MAX_REQUEST_BYTES = 16 << 20;
    /** Who sends more than this beside what is read is not waited for. */
    private static final long MAX_DRAINED_BYTES = 64 << 20;
    /** How long a request that has begun may still take when the server is told to end; Kubernetes waits 30 s. */
    private static final long LEAVE_MILLISECONDS = 20_000;
    private static final TypeReference<Map<String, Object>> OBJECT = new TypeReference<>() { };

    private final ObjectMapper json = new ObjectMapper();
    private final AtomicInteger busy = new AtomicInteger();
    private final Map<String, ServedModel> models;
    private final HttpServer server;

    Service(Map<String, ServedModel> models, InetSocketAddress address) throws IOException {
        this.models = models;
        server = HttpServer.create(address, 1024);
        server.createContext("/", this::handle);
        server.setExecutor(Executors.newFixedThreadPool(4 + 2 * Runtime.getRuntime().availableProcessors()));
    }

    /** Listens, in threads of its own, until the process is told to end. */
    void start() {
        server.start();
        Runtime.getRuntime().addShutdownHook(new Thread(this::leave));
    }

    private void leave() {
        long end = System.currentTimeMillis() + LEAVE_MILLISECONDS;
        try {
            while (busy.get() > 0 && System.currentTimeMillis() < end) {
                Thread.sleep(10);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        server.stop(0);
    }

    private void handle(HttpExchange exchange) {
        busy.incrementAndGet();
        try (exchange) {
            Answer answer;
            try {
                answer = answer(exchange);
            } catch (Refusal refusal) {
                answer = new Answer(refusal.status, Map.of("message", refusal.getMessage()));
                if (refusal.status == 405) {
                    exchange.getResponseHeaders().set("Allow", "GET, POST");
                }
            }
            drain(exchange);
            byte[] body = json.writeValueAsBytes(answer.document);
            exchange.getResponseHeaders().set("Content-Type", "application/json");
            exchange.sendResponseHeaders(answer.status, body.length);
            exchange.getResponseBody().write(body);
        } catch (IOException error) {
            // The client has gone.
            System.err.println("no answer given: " + Models.reason(error));
        } finally {
            busy.decrementAndGet();
        }
    }

    /** Reads what was left unread: closing over it resets the connection, and the client never sees the answer. */
    private static void drain(HttpExchange exchange) throws IOException {
        InputStream stream = exchange.getRequestBody();
        // Not by skip, which goes past the end of the body and waits for the client's next request.
        byte[] buffer = new byte[1 << 16];
        long left = MAX_DRAINED_BYTES;
        int count;
        while (left > 0 && (count = stream.read(buffer)) >= 0) {
            left -= count;
        }
    }

    private Answer answer(HttpExchange exchange) throws IOException, Refusal {
        String path = exchange.getRequestURI().getPath();
        String method = exchange.getRequestMethod();
        if (path.equals(ROOT) && method.equals("GET")) {
            return new Answer(200, Map.of("responses", models.values().stream().map(ServedModel::summary).toList()));
        }
        ServedModel model = path.startsWith(ROOT + "/") ? models.get(path.substring(ROOT.length() + 1)) : null;
        if (model == null) {
            throw new Refusal(404, "there is no model at this path; they are " + String.join(", ", models.keySet()));
        }
        return switch (method) {
            case "GET" -> new Answer(200, model.schema());
            case "POST" -> new Answer(200, evaluate(model, exchange));
            default -> throw new Refusal(405, "a model is asked by GET and POST; it cannot be changed");
        };
    }

    private Map<String, Object> evaluate(ServedModel model, HttpExchange exchange) throws IOException, Refusal {
        Map<String, Object> request = request(exchange);
        Map<String, Object> reply = new LinkedHashMap<>();
        if (request.get("id") != null) {
            reply.put("id", request.get("id"));
        }
        try {
            reply.put("results", model.evaluate(arguments(request)));
        } catch (RuntimeException | StackOverflowError error) {
            // What JPMML raises for a value that the model does not take.
            throw new Refusal(400, Models.reason(error));
        }
        return reply;
    }

    private Map<String, Object> request(HttpExchange exchange) throws IOException, Refusal {
        byte[] body = exchange.getRequestBody().readNBytes(MAX_REQUEST_BYTES + 1);
        if (body.length > MAX_REQUEST_BYTES) {
            throw new Refusal(413, "a request has at most " + (MAX_REQUEST_BYTES >> 20) + " MiB");
        }
        try {
            Map<String, Object> request = json.readValue(body, OBJECT);
            if (request != null) {
                return request;
            }
        } catch (IOException error) {
            throw new Refusal(400, "the request is no JSON object: " + Models.reason(error));
        }
        throw new Refusal(400, "the request is no JSON object");
    }

    /** Returns the values by field; of several requests' worth, as OpenScoring has it elsewhere, there is nothing. */
    private static Map<String, Object> arguments(Map<String, Object> request) throws Refusal {
        if (!(request.get("arguments") instanceof Map<?, ?> given)) {
            throw new Refusal(400, "the request has no object \"arguments\"");
        }
        Map<String, Object> arguments = new HashMap<>();
        given.forEach((name, value) -> arguments.put(String.valueOf(name), value));
        return arguments;
    }

    private record Answer(int status, Object document) { }

    private static final class Refusal extends Exception {

        private static final long serialVersionUID = 1L;
        private final int status;

        Refusal(int status, String message) {
            super(message);
            this.status = status;
        }
    }
}
