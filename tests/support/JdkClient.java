import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends requests with the JDK's HttpClient at its defaults, which offers HTTP/2 by `Upgrade: h2c`, in three rounds. */
class JdkClient {
    /** Arguments: the issuer's URL, then for each request its path, its media type, and its body. */
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        for (int round = 0; round < 3; round++) {
            for (int at = 1; at < arguments.length; at += 3) {
                var request = HttpRequest.newBuilder(URI.create(arguments[0] + arguments[at]))
                    .header("Content-Type", arguments[at + 1])
                    .POST(BodyPublishers.ofString(arguments[at + 2]))
                    .build();
                var response = client.send(request, BodyHandlers.ofString());
                System.out.println(arguments[at] + " " + response.statusCode() + " " + response.version());
            }
        }
    }
}
