# A static binary on an empty image: docker build -t nodedb . && docker run -v data:/data nodedb start --data /data
FROM golang:1.26 AS build
WORKDIR /src
COPY . .
RUN CGO_ENABLED=0 go build -buildvcs=true -trimpath -o /nodedb .

FROM scratch
COPY --from=build /nodedb /nodedb
VOLUME /data
EXPOSE 9042 7000 7001 7001/udp 8181
ENTRYPOINT ["/nodedb"]
