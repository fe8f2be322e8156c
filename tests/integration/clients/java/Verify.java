import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.jwk.source.JWKSource;
import com.nimbusds.jose.jwk.source.JWKSourceBuilder;
import com.nimbusds.jose.proc.BadJOSEException;
import com.nimbusds.jose.proc.DefaultJOSEObjectTypeVerifier;
import com.nimbusds.jose.proc.JWSVerificationKeySelector;
import com.nimbusds.jose.proc.SecurityContext;
import com.nimbusds.jwt.JWTClaimsSet;
import com.nimbusds.jwt.proc.DefaultJWTClaimsVerifier;
import com.nimbusds.jwt.proc.DefaultJWTProcessor;
import java.net.URL;
import java.util.Set;

/** Verifies each token of standard input with the published keys: prints its claims, or `rejected`. */
class Verify {
    public static void main(String[] arguments) throws Exception {
        String issuer = arguments[0], audience = arguments[1];
        JWKSource<SecurityContext> keys = JWKSourceBuilder.create(new URL(issuer + "/.well-known/jwks.json")).build();
        var processor = new DefaultJWTProcessor<SecurityContext>();
        // RFC 9068 section 4. Without this, Nimbus accepts `typ` JWT only, and so rejects every access token.
        processor.setJWSTypeVerifier(new DefaultJOSEObjectTypeVerifier<>(new JOSEObjectType("at+jwt")));
        processor.setJWSKeySelector(new JWSVerificationKeySelector<>(JWSAlgorithm.RS256, keys));
        processor.setJWTClaimsSetVerifier(new DefaultJWTClaimsVerifier<>(
                audience,
                new JWTClaimsSet.Builder().issuer(issuer).build(),
                Set.of("sub", "exp", "iat", "jti", "client_id")));
        for (String token : new String(System.in.readAllBytes()).split("\n")) {
            try {
                System.out.println(processor.process(token, null));
            } catch (BadJOSEException rejected) {
                System.out.println("rejected");
            }
        }
    }
}
