import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** Answers at once, on /.../slow after 3 s. HANDLER=none is an application without a shutdown hook. */
public class App {
    public static void main(String[] args) throws Exception {
        var workers = Executors.newCachedThreadPool();
        var server = HttpServer.create(new InetSocketAddress(8080), 128);
        server.setExecutor(workers);
        server.createContext("/", exchange -> {
            try {
                Thread.sleep(exchange.getRequestURI().getPath().endsWith("/slow") ? 3000 : 0);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            var body = "done\n".getBytes();
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        if (!"none".equals(System.getenv("HANDLER"))) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                System.out.println("stopping");
                workers.shutdown();
                try {
                    workers.awaitTermination(15, TimeUnit.SECONDS);
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            }));
        }
    }
}
