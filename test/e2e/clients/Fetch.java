import java.net.URI;

/** Java's own client, with the JVM's own trust store. */
public class Fetch {
  public static void main(String[] args) throws Exception {
    System.out.println(new String(URI.create(args[0]).toURL().openStream().readAllBytes()));
  }
}
