package io.kleveross.openscoring;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Map;

/** Starts the server: loads every model of a directory, and listens when all of them answer. */
public final class Main {

    private Main() {
    }

    /** Takes {@code [--host HOST] [--port PORT] DIRECTORY}; exits with 1 where a model cannot be loaded. */
    public static void main(String[] arguments) {
        String host = "0.0.0.0";
        int port = 8080;
        Deque<String> rest = new ArrayDeque<>(Arrays.asList(arguments));
        try {
            while (rest.size() > 1) {
                String option = rest.pop();
                switch (option) {
                    case "--host" -> host = rest.pop();
                    case "--port" -> port = Integer.parseInt(rest.pop());
                    default -> throw new IllegalArgumentException("there is no option " + option);
                }
            }
            if (rest.isEmpty()) {
                throw new IllegalArgumentException("the directory is lacking");
            }
        } catch (IllegalArgumentException error) {
            exit(2, "usage: serve-openscoring [--host HOST] [--port PORT] DIRECTORY: " + error.getMessage());
        }
        long started = System.nanoTime();
        try {
            Map<String, ServedModel> models = Models.load(Path.of(rest.pop()));
            Service service = new Service(models, new InetSocketAddress(host, port));
            service.start();
            System.err.printf("%s: listening at %s:%d after %d ms%n", String.join(", ", models.keySet()), host, port,
                    (System.nanoTime() - started) / 1_000_000);
        } catch (ModelException | IOException error) {
            exit(1, error.getMessage());
        }
    }

    private static void exit(int code, String why) {
        System.err.println(why);
        System.exit(code);
    }
}
